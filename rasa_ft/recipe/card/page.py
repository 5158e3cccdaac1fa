"""The data card as text: an HTML page that needs nothing else, and Markdown for repositories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape

from rasa_ft.evaluation.report.render import percent
from rasa_ft.recipe.card import drawing
from rasa_ft.recipe.card.advice import advice
from rasa_ft.recipe.card.figures import Card, Counts, Material, card_of
from rasa_ft.recipe.splitting.split import in_words
from rasa_ft.recipe.wordings.diversity import Diversity, averaged

# What each figure of `Diversity` means.
MEANINGS = {
    "distinct_1": ("Different words", "by words in all; 1 if no word occurs twice"),
    "distinct_2": ("Different pairs of words", "by pairs in all"),
    "self_bleu": ("Likeness (self-BLEU)", "0: nothing in common, 1: all the same"),
    "length_ratio": ("Length", "words by words of the original"),
}
KINDS = {
    "original": "as in the tests",
    "rephrased": "in other words",
    "exchanged": "with other values",
    "transplant": "put into another conversation",
}
# Longer lists are cut, and say so: a page stays small enough to be mailed.
MOST_ITEMS = 300
_MOST_UNIFORM = 10
_THIN = "\N{NARROW NO-BREAK SPACE}"
_HASH_CHARS = 12
_FEW_ITEMS = 3
_ENGINE = ("engine", "command_syntax")
_NAMED = ("student_prompt", "prompt_template", "llm")


@dataclass(frozen=True)
class Stage:
    """A step from tests to rows: how many there are, and what is to be said about them."""

    name: str
    count: int
    note: str


@dataclass(frozen=True)
class CommandRow:
    """How many rows have a command, and their share of all rows of the part."""

    name: str
    rows: Counts
    train: float
    validation: float


def render_html(material: Material) -> str:
    """The card as one page: no scripts, no fonts, no network."""
    return _environment().get_template("data_card.html.jinja2").render(_content(material))


def render_markdown(material: Material) -> str:
    """The card for a repository, without its plots."""
    return _environment().get_template("data_card.md.jinja2").render(_content(material))


def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("rasa_ft.recipe.card"), PackageLoader("rasa_ft.evaluation.report")]),
        # Markdown is made safe by `cell`.
        autoescape=select_autoescape(["html.jinja2"], default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        percent=percent, number=number, px="{:.4g}".format, cell=cell, short=short_test, words=in_words, decimal=decimal
    )
    return environment


def _content(material: Material) -> dict[str, Any]:
    card = card_of(material)
    tests = card.yields
    commands = command_rows(material, card)
    return {
        "material": material,
        "summary": material.summary,
        "card": card,
        "advice": advice(material, card),
        "stages": list(stages(material)),
        "rephrasings": rephrasings(card),
        "kinds": KINDS,
        "commands": commands,
        "top": max((max(row.train, row.validation) for row in commands), default=0.0) or 1.0,
        "not_judged": len(material.parts.not_in_validation),
        "wanted": sum(test.wanted for test in tests),
        "rephrasing_plot": drawing.shares(rephrasings(card), "What became of the rephrasings"),
        "yield_plot": drawing.yields(tests),
        "length_plots": [(one, drawing.histogram(one)) for one in card.lengths],
        "diversity": diversity_rows(averaged(turn.figures for turn in card.diversity)),
        "uniform": card.diversity[:_MOST_UNIFORM],
        "about": list(about(material)),
        "most": MOST_ITEMS,
    }


def number(value: int) -> str:
    """``12345`` as ``12 345``."""
    return f"{value:,}".replace(",", _THIN)


def decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def cell(text: object) -> str:
    """A text that stays in its cell of a Markdown table, and is no markup."""
    shown = " ".join(str(text).split())
    for mark, instead in (("&", "&amp;"), ("<", "&lt;"), ("\\", "\\\\"), *((mark, f"\\{mark}") for mark in "|`*_[]")):
        shown = shown.replace(mark, instead)
    return shown


def short_test(key: str) -> str:
    """The name of a test without its file."""
    return key.rpartition("::")[2]


def stages(material: Material) -> Iterator[Stage]:
    """The way from tests to rows."""
    summary = material.summary
    yield Stage("tests", summary["num_input_e2e_tests"], "given")
    skipped = summary["num_skipped_e2e_tests"]
    yield Stage(
        "conversations",
        summary["num_annotated_conversations"],
        f"pass, {number(skipped)} skipped" if skipped else "pass",
    )
    asked = summary["num_user_messages_to_rephrase_across_conversations"]
    yield Stage(
        "messages", summary["num_user_messages_across_conversations"], f"with commands, {number(asked)} to rephrase"
    )
    accepted, refused = (summary[f"num_{what}_rephrased_user_messages"] for what in ("passing", "failing"))
    yield Stage("rephrasings", accepted, f"accepted, {number(refused)} rejected")
    repeated = summary["num_duplicate_data_points_removed"]
    train, validation = summary["num_train_data_points"], summary["num_val_data_points"]
    note = f"{number(train)} training, {number(validation)} validation"
    yield Stage("rows", train + validation, f"{note}; {number(repeated)} repetitions removed" if repeated else note)


def rephrasings(card: Card) -> dict[str, int]:
    """What became of the rephrasings that the rephraser gave."""
    names = {"accepted": "accepted", "rejected": "rejected", "in doubt": "doubtful", "not checked": "unchecked"}
    return {words: sum(getattr(test, name) for test in card.yields) for words, name in names.items()}


def diversity_rows(found: Diversity) -> list[tuple[str, str, float]]:
    """Name, meaning and value of each figure that there is."""
    named = ((MEANINGS[field.name], getattr(found, field.name)) for field in fields(found) if field.name in MEANINGS)
    return [(*words, value) for words, value in named if value is not None]


def about(material: Material) -> Iterator[tuple[str, str]]:
    """What the data are and what they were made with."""
    params = material.params
    versions, parameters, hashes, config = (
        params[key] for key in ("versions", "parameters", "hashes", "rephrase_config")
    )
    yield "Assistant", material.title
    if params["tests"]:
        yield "Tests", str(params["tests"])
    for role, models in params["models"].items():
        yield role.capitalize(), ", ".join(models)
    yield "Engine", f"{versions['engine']}, command syntax {versions['command_syntax']}"
    yield "Made by", ", ".join(f"{name} {version}" for name, version in versions.items() if name not in _ENGINE)
    yield "Student prompt", f"{parameters['student_prompt']}, SHA-256 {hashes['student_prompt'][:_HASH_CHARS]}…"
    yield "Settings", ", ".join(f"{name}: {value}" for name, value in _chosen(parameters).items())
    if parameters["num_rephrases"]:
        yield "Rephraser's settings", ", ".join(f"{name}: {value}" for name, value in _chosen(config).items())


def _chosen(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings that are set, but for models and templates, which are named apart, and long lists, which are counted."""
    chosen = {name: value for name, value in settings.items() if name not in _NAMED}
    return {name: _shown(value) for name, value in chosen.items() if value not in (None, "", [])}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(str, value)) if len(value) <= _FEW_ITEMS else f"{len(value)} of them"
    return str(value)


def command_rows(material: Material, card: Card) -> list[CommandRow]:
    """Each command with its share of the rows on both sides."""
    sizes = Counts(max(1, len(material.train)), max(1, len(material.validation)))
    return [
        CommandRow(name, counts, counts.train / sizes.train, counts.validation / sizes.validation)
        for name, counts in card.commands.items()
    ]
