"""Strategies that break text files: as an editor, a merge or somebody with bad intentions would."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

# What a YAML file may hold instead of what belongs there.
VALUES = (
    *(
        "",
        "~",
        "null",
        "true",
        "yes",
        "'no'",
        "0",
        "-1",
        "3",
        "0.5",
        "1e400",
        "-.inf",
        ".nan",
        "9" * 400,
        "0x1F",
        "1_0",
    ),
    *("[]", "{}", "[[]]", "[1, null, {}]", "{a: b}", "{1: 2}", "{null: 1}", "{true: x}", "[a, [b, {c: d}]]", "''"),
    *("text", '"\\u0000"', '"\\ud800"', '"\\x1b[31m"', "é😀\u202e", "a: b: c", "- x", "? y", "|", ">-", "&a x", "*a"),
    *("&r [*r]", "!!python/object/apply:os.system ['true']", "!!binary aGk=", "!!str 1", "!own x", "2024-01-01"),
    *("${HOME}", "${NOT_THERE}", "'${HOME}'", "{{ x }}", "{% if %}", "slots.a is", "END", "START", "pattern_search"),
    *("utter_", "action_listen", "/SetSlots(a=", "a" * 3000, "[" * 60 + "]" * 60, "<<", "{<<: 1}", "{<<: [{a: 1}]}"),
)
_INSERTED = (
    *(
        "\t",
        "\u00a0",
        "\ufeff",
        "\x00",
        "\x07",
        "\x85",
        "\u2028",
        "\r",
        "\ud800",
        "\u0301",
        "  ",
        "\n",
        "---\n",
        "...\n",
    ),
    *(
        "#",
        ":",
        "- ",
        "? ",
        "&a ",
        "*a",
        "!",
        "|",
        "'",
        '"',
        "{",
        "}",
        "[",
        "]",
        "%YAML 1.1\n",
        "<<: *a",
        "`",
        "@",
        "${X}",
    ),
)

Mutation = Callable[[str, random.Random], str]


def _at_lines(change: Callable[[list[str], random.Random], None]) -> Mutation:
    def mutate(text: str, rng: random.Random) -> str:
        lines = text.splitlines()
        if lines:
            change(lines, rng)
        return "\n".join(lines)

    return mutate


def _delete(lines: list[str], rng: random.Random) -> None:
    start = rng.randrange(len(lines))
    del lines[start : start + rng.choice((1, 1, 2, 5))]


def _duplicate(lines: list[str], rng: random.Random) -> None:
    index = rng.randrange(len(lines))
    lines.insert(rng.choice((index, rng.randrange(len(lines)))), lines[index])


def _swap(lines: list[str], rng: random.Random) -> None:
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


def _indent(lines: list[str], rng: random.Random) -> None:
    start = rng.randrange(len(lines))
    for index in range(start, min(start + rng.choice((1, 3)), len(lines))):
        lines[index] = lines[index][2:] if rng.random() < 0.5 else "  " + lines[index]


def _value(lines: list[str], rng: random.Random) -> None:
    """What follows a colon or a dash becomes something else; what was below it stays."""
    index = _line_with(lines, rng, r"^\s*(?:- )?[\w\"']+:|^\s*- ")
    head = re.match(r"^\s*(?:- )?(?:[\w\"'-]+:)?", lines[index])
    lines[index] = f"{head[0] if head else ''} {rng.choice(VALUES)}"


def _value_and_below(lines: list[str], rng: random.Random) -> None:
    """As `_value`, but everything below goes with it."""
    index = _line_with(lines, rng, r":\s*$")
    depth = len(lines[index]) - len(lines[index].lstrip())
    end = index + 1
    while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > depth):
        end += 1
    lines[index:end] = [f"{lines[index].rstrip()} {rng.choice(VALUES)}"]


def _key(lines: list[str], rng: random.Random) -> None:
    index = _line_with(lines, rng, r"\w:")
    keys = (
        "null",
        "true",
        "3",
        "? [a]",
        "<<",
        "'a b'",
        "é",
        "''",
        "x" * 2000,
        "if",
        "next",
        "steps",
        "type",
        "text",
        "-",
    )
    lines[index] = re.sub(r"[\w-]+:", lambda match: f"{rng.choice(keys)}:", lines[index], count=1)


def _line_with(lines: list[str], rng: random.Random, pattern: str) -> int:
    found = [index for index, line in enumerate(lines) if re.search(pattern, line)]
    return rng.choice(found or range(len(lines)))


def _insert(text: str, rng: random.Random) -> str:
    place = rng.randrange(len(text) + 1)
    return text[:place] + rng.choice(_INSERTED) + text[place:]


def _cut(text: str, rng: random.Random) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _anchor(text: str, rng: random.Random) -> str:
    """An anchor on one value and aliases elsewhere, which may lie inside it."""
    places = [match.end() for match in re.finditer(r":(?=\s)", text)]
    if len(places) < 2:
        return text
    first, second = sorted(rng.sample(places, 2))
    return f"{text[:first]} &m{text[first:second]} *m{text[second:]}"


_MUTATIONS: tuple[Mutation, ...] = (
    *map(_at_lines, (_delete, _duplicate, _swap, _indent, _value, _value, _value_and_below, _value_and_below, _key)),
    *(_insert, _cut, _anchor),
)


@st.composite
def mutated(draw: st.DrawFn, texts: Sequence[str]) -> str:
    """One of ``texts`` after one to four changes."""
    text = draw(st.sampled_from(texts))
    # One number instead of many draws: a hundred times faster, and these examples do not get clearer by shrinking.
    rng = random.Random(draw(st.integers(0, 2**32)))
    for _ in range(rng.choice((1, 1, 2, 4))):
        text = rng.choice(_MUTATIONS)(text, rng)
    return text
