"""A model card tells what the files of a run tell, and nothing where there is no file."""

import json
from pathlib import Path

import pytest

from rasa_ft.training.model_card import CardFacts, gather, hub_name, render_card, shown_base, without_paths, write_cards

MANIFEST = {
    "kind": "training",
    "recipe": {"base_model": "org/base", "lora": {"r": 12}, "training": {"seed": 42}},
    "inputs": {"train.jsonl": "aa11", "val.jsonl": "bb22", "student_prompt.jinja2": "cc33"},
    "versions": {"rasa_ft": "0.1", "torch": "2.13.0", "trl": None},
    "rows": {"train": 318, "validation": 44, "turns": 106},
    "result": {
        "steps": 300,
        "seconds": 612.5,
        "loss": 0.0123,
        "validation_loss": 0.0456,
        "validation_exact": 0.8182,
        "finished": "2026-01-02T10:00:00+00:00",
    },
}
VERDICT = {
    "schema": "rasa_ft/verdict/1",
    "headline": "Do not ship: 48.3 % of the validation conversations pass.",
    "gates": [
        {
            "split": "validation",
            "passed": 14,
            "total": 29,
            "rate": 0.4828,
            "interval": [0.3139, 0.6557],
            "threshold": 0.8,
        }
    ],
    "assistant": "rail",
    "engine": "embedded",
    "created": "2026-01-02T11:00:00+00:00",
    "settings": {"model": "somewhere/finetuned", "grammar": True, "confidence": 0.95},
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "finetuned"
    (folder / "adapter").mkdir(parents=True)
    (folder / "merged").mkdir()
    (folder / "loss.png").write_bytes(b"picture")
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    log = [{"step": step, "loss": 1 / step, "seconds": step} for step in range(1, 301)]
    log[99] |= {"validation_loss": 0.5, "validation_exact": 0.25}
    (folder / "training_log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    return folder


def evaluated(run: Path, **changes: object) -> None:
    (run.parent / "evaluation").mkdir(exist_ok=True)
    (run.parent / "evaluation" / "verdict.json").write_text(json.dumps({**VERDICT, **changes}))


def test_all_that_is_known_is_told(run):
    evaluated(run)
    text = render_card(gather(run, "merged-16bit", name="rail"), curve=True)
    for told in (
        "| `train.jsonl` | `aa11` |",
        "| `student_prompt.jinja2`, the prompt template | `cc33` |",
        "318 rows of 106 user turns for training, 44 rows for validation.",
        "300 steps in 612.5 s; loss at the end 0.0123 per answer token, on validation rows 0.0456; 81.8 % of",
        "![Loss per step](loss.png)",
        "| 100 | 0.01 | 0.5 | 25.0 % |",
        "base_model: org/base\nlora:\n  r: 12\n",
        "Versions: rasa_ft 0.1, torch 2.13.0.",
        "**Do not ship: 48.3 % of the validation conversations pass.**",
        "| validation | 14 of 29 | 48.3 % | 31.4 % to 65.6 % | 80.0 % |",
        "| Conversations | Passed | Rate | 95 % interval | Needed |",
        "nothing but commands of the assistant's grammar",
        "rasa llm finetune serve . --name rail",
        "model: rail",
        "prompt_template: student_prompt.jinja2",
    ):
        assert told in text


def test_the_curve_is_a_short_table_from_the_first_step_to_the_last(run):
    text = render_card(gather(run, "adapter", name="rail"))
    steps = [int(line.split("|")[1]) for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert (steps[0], steps[-1], len(steps)) == (1, 300, 13)
    assert "loss.png" not in text


def test_no_figure_without_a_file():
    text = render_card(CardFacts("rail", "adapter", ""))
    assert "The base model is not known" in text
    assert text.count("Not recorded.") == 2
    assert "No evaluation of this model was found" in text
    assert "%" not in text


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {**VERDICT["settings"], "model": "another"}},
        {"created": "2026-01-02T09:59:59+00:00"},
        {"schema": "somebody/else"},
        {"created": None},
    ],
    ids=["of another model", "older than the model", "unknown", "undated"],
)
def test_a_verdict_on_something_else_is_not_this_model_s(run, changes):
    evaluated(run, **changes)
    assert gather(run, "adapter", name="rail").verdict is None


def test_a_verdict_on_the_merged_folder_is_one_on_the_run(run):
    evaluated(run, settings={**VERDICT["settings"], "model": "finetuned/merged"})
    assert gather(run, "adapter", name="rail").verdict is not None


def test_other_forms_say_that_they_were_not_examined(run):
    evaluated(run)
    sentence = "The merged 16-bit model was examined, not this form of it."
    assert {
        kind: sentence in render_card(gather(run, kind, name="x")) for kind in ("adapter", "merged-4bit", "gguf")
    } == {
        "adapter": False,
        "merged-4bit": True,
        "gguf": True,
    }


def test_a_final_model_says_that_nothing_was_held_out(run, tmp_path):
    evaluated(run)
    final = tmp_path / "finetuned-final"
    final.mkdir()
    of = {"model": "finetuned", "finished": MANIFEST["result"]["finished"]}
    (final / "manifest.json").write_text(json.dumps({**MANIFEST, "without_held_out_data": True, "final_of": of}))
    text = render_card(gather(final, "adapter", name="final"))
    assert "**Trained without held-out data:**" in text
    assert "Of `finetuned`, the model with the same settings" in text
    assert "14 of 29" in text
    assert "held-out" not in render_card(gather(run, "adapter", name="rail"))


def test_the_hub_reads_the_front_matter(run):
    hub = pytest.importorskip("huggingface_hub")
    data = hub.ModelCard(render_card(gather(run, "adapter", name="rail"))).data
    assert (data.base_model, data.library_name, data.pipeline_tag) == ("org/base", "peft", "text-generation")
    assert data.base_model_relation == "adapter"
    assert hub.ModelCard(render_card(gather(run, "gguf", name="rail"))).data.library_name == "gguf"


def test_the_base_model_s_own_card_names_the_licence(run, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\nA model.\n")
    facts = gather(run, "adapter", name="rail", base_model=str(base))
    assert facts.licence == "apache-2.0"
    assert "license: apache-2.0" in render_card(facts)
    (base / "README.md").write_text("license: mit\n")
    unknown = gather(run, "adapter", name="rail", base_model=str(base))
    assert "look it up" in render_card(unknown)
    assert "license:" not in render_card(unknown)


def test_nothing_about_folders_of_this_machine(run, tmp_path):
    base, template = tmp_path / "secret-place" / "base", tmp_path / "secret-place" / "chat.jinja"
    base.mkdir(parents=True)
    recipe = {**MANIFEST["recipe"], "base_model": str(base), "chat_template": str(template)}
    (run / "manifest.json").write_text(json.dumps({**MANIFEST, "recipe": recipe}))
    text = render_card(gather(run, "adapter", name="rail"))
    assert "secret-place" not in text
    assert "`base`, a model from a local folder" in text
    assert "secret-place" not in json.dumps(without_paths({"recipe": recipe}))


def test_names_of_the_hub_and_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "base").mkdir(parents=True)
    assert hub_name("org/model") == "org/model"
    assert [hub_name(name) for name in ("org/base", "/org/model", "model", "a/b/c")] == [None] * 4
    assert shown_base("/srv/models/mine") == "mine"


def test_both_folders_of_a_run_get_a_card_and_the_curve(run):
    write_cards(run, name="rail")
    for folder, told in (
        ("adapter", "vllm serve org/base --enable-lora --lora-modules rail=. --max-lora-rank 16"),
        ("merged", "rasa llm"),
    ):
        assert told in (run / folder / "README.md").read_text()
        assert (run / folder / "loss.png").read_bytes() == b"picture"
