"""The model card: what a model was made from, how it was trained and judged, and how to serve it.

Every figure comes from a file of the training run or of an evaluation; where there is none, the card says so.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from rasa_ft.evaluation.summary import SCHEMA
from rasa_ft.files import write_text
from rasa_ft.serving.endpoint import Endpoint
from rasa_ft.training.progress import read_log
from rasa_ft.training.template import PROMPT_FILE
from rasa_ft.yaml_source import dump_yaml

Format = Literal["adapter", "merged-16bit", "merged-4bit", "gguf"]

CARD = "README.md"
CURVE = "loss.png"
LOG = "training_log.jsonl"
MANIFEST = "manifest.json"
_CURVE_ROWS = 12
_RELATIONS: Mapping[Format, str] = {
    "adapter": "adapter",
    "merged-16bit": "finetune",
    "merged-4bit": "quantized",
    "gguf": "quantized",
}
_OLLAMA = "http://127.0.0.1:11434/v1"
_VLLM = "http://127.0.0.1:8000/v1"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class CardFacts:
    """What a card tells. ``base_model`` is a hub name, or the name of a folder; ``licence`` its own, where known.

    ``manifest``, ``log`` and ``verdict`` are the contents of manifest.json and training_log.jsonl of the training run
    and of verdict.json of its evaluation; empty or None where there is no such file.
    """

    name: str
    kind: Format
    base_model: str
    manifest: Mapping[str, Any] = field(default_factory=dict)
    log: Sequence[Mapping[str, float]] = ()
    verdict: Mapping[str, Any] | None = None
    licence: str | None = None

    @property
    def without_held_out_data(self) -> bool:
        return bool(self.manifest.get("without_held_out_data"))


def write_cards(run: Path, *, name: str) -> None:
    """Put a card and the loss curve into adapter/ and merged/ of a training run's folder."""
    kinds: Mapping[str, Format] = {"adapter": "adapter", "merged": "merged-16bit"}
    for folder, kind in kinds.items():
        if (run / folder).is_dir():
            write_card(run / folder, run, gather(run, kind, name=name))


def write_card(folder: Path, run: Path, facts: CardFacts) -> None:
    """Write the card of the model in ``folder``, with the loss curve of ``run`` beside it if there is one."""
    if (run / CURVE).is_file() and run != folder:
        shutil.copy(run / CURVE, folder / CURVE)
    write_text(folder / CARD, render_card(facts, curve=(folder / CURVE).is_file()))


def gather(run: Path, kind: Format, *, name: str, base_model: str | None = None) -> CardFacts:
    """What the files of a training run tell; ``base_model`` stands for the one that the manifest names.

    An evaluation counts if it stands beside ``run``, names it, and is younger.
    """
    manifest = read_object(run / MANIFEST)
    base = base_model or str(manifest.get("recipe", {}).get("base_model") or "")
    return CardFacts(
        name=name,
        kind=kind,
        base_model=shown_base(base) if base else "",
        manifest=manifest,
        log=read_log(run / LOG) if (run / LOG).is_file() else (),
        verdict=_verdict(run.resolve(), manifest),
        licence=_licence(base),
    )


def hub_name(base_model: str) -> str | None:
    """``base_model`` if it is a name on the Hugging Face hub and no folder here."""
    return base_model if _HUB_NAME.fullmatch(base_model) and not Path(base_model).exists() else None


def shown_base(base_model: str) -> str:
    """The name of a base model for others to read: where a folder lies on this machine is nobody's business."""
    return hub_name(base_model) or Path(base_model).expanduser().name


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def without_paths(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A training manifest that says nothing about folders on this machine."""
    recipe = dict(manifest.get("recipe", {}))
    if recipe.get("base_model"):
        recipe["base_model"] = shown_base(str(recipe["base_model"]))
    if recipe.get("chat_template"):
        recipe["chat_template"] = Path(str(recipe["chat_template"])).name
    return {**manifest, "recipe": recipe}


def render_card(facts: CardFacts, *, curve: bool = False) -> str:
    """The card as Markdown, with the front matter that the Hugging Face hub reads.

    Format: https://huggingface.co/docs/hub/model-cards
    """
    environment = Environment(
        loader=PackageLoader("rasa_ft.training", "card_templates"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - Markdown
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = lambda share: "–" if share is None else f"{100 * share:.1f} %"
    return environment.get_template("model_card.md.jinja2").render(
        facts=facts,
        front_matter=dump_yaml(_front_matter(facts)),
        on_hub=bool(hub_name(facts.base_model)),
        recipe=dump_yaml(without_paths(facts.manifest).get("recipe", {})) if facts.manifest else "",
        inputs=facts.manifest.get("inputs", {}),
        rows=facts.manifest.get("rows", {}),
        result=facts.manifest.get("result", {}),
        versions={name: number for name, number in facts.manifest.get("versions", {}).items() if number},
        curve=curve,
        losses=_spread(facts.log),
        prompt=PROMPT_FILE,
        command=_serve_command(facts),
        endpoint=_endpoint(facts),
    )


def _front_matter(facts: CardFacts) -> dict[str, Any]:
    base = hub_name(facts.base_model)
    found: dict[str, Any] = {}
    if base:
        found |= {"base_model": base, "base_model_relation": _RELATIONS[facts.kind]}
    if facts.licence:
        found["license"] = facts.licence
    library = {"adapter": "peft", "gguf": "gguf"}.get(facts.kind, "transformers")
    tags = ["rasa", "calm", "command-generation", "lora"]
    return found | {"library_name": library, "pipeline_tag": "text-generation", "tags": tags}


def _verdict(run: Path, manifest: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The verdict on this very model; of a model trained on everything, that on the one with the same settings."""
    found = read_object(run.parent / "evaluation" / "verdict.json")
    if found.get("schema") != SCHEMA:
        return None
    model = Path(str(found.get("settings", {}).get("model", "")))
    names = {model.name, model.parent.name} if model.name == "merged" else {model.name}
    wanted = manifest.get("final_of", {"model": run.name, "finished": manifest.get("result", {}).get("finished")})
    try:
        younger = datetime.fromisoformat(found["created"]) >= datetime.fromisoformat(wanted["finished"])
    except (KeyError, TypeError, ValueError):
        return None
    return found if younger and wanted["model"] in names else None


def _licence(base_model: str) -> str | None:
    """What the base model's own card says, if that card is on this machine."""
    card = Path(base_model).expanduser() / CARD
    if hub_name(base_model):
        try:
            from huggingface_hub import try_to_load_from_cache

            cached = try_to_load_from_cache(base_model, CARD)
        except ImportError:
            return None
        card = Path(cached) if isinstance(cached, str) else card
    if not card.is_file():
        return None
    front = card.read_text(encoding="utf-8", errors="replace").partition("\n---")[0]
    named = re.search(r"^license:\s*([\w.-]+)\s*$", front, re.MULTILINE)
    return named[1] if named and front.startswith("---") else None


def _spread(log: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """A dozen lines over the whole run, first and last among them, and all looks at the validation set."""
    last = len(log) - 1
    chosen = {round(number * last / (_CURVE_ROWS - 1)) for number in range(_CURVE_ROWS)} if log else set()
    return [line for number, line in enumerate(log) if number in chosen or "validation_loss" in line]


def _serve_command(facts: CardFacts) -> str:
    if facts.kind == "gguf":
        return f"ollama create {facts.name} -f Modelfile"
    if facts.kind == "adapter":
        rank = int(facts.manifest.get("recipe", {}).get("lora", {}).get("r", 16))
        # vLLM takes certain ranks only, among them the powers of two from 8 on.
        allowed = max(8, 1 << (rank - 1).bit_length())
        lora = f"--enable-lora --lora-modules {facts.name}=. --max-lora-rank {allowed}"
        return f"vllm serve {facts.base_model or 'BASE-MODEL'} {lora}"
    return f"rasa llm finetune serve . --name {facts.name}"


def _endpoint(facts: CardFacts) -> str:
    prompt = PROMPT_FILE if PROMPT_FILE in facts.manifest.get("inputs", {}) else None
    return Endpoint(_OLLAMA if facts.kind == "gguf" else _VLLM, facts.name).snippet(prompt)
