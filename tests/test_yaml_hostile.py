"""YAML that somebody wrote to break the reader, or that an editor broke: one error with a place, at once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from rasa_ft.errors import DataError
from rasa_ft.yaml_source import load_yaml, location_of, parse_yaml, plain

FILE = Path("flows.yml")
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def read(text: str) -> Any:
    return plain(parse_yaml(text, FILE))


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "a: &a {b: *a}",
        "a: &a\n  - b: {c: [*a]}",
        "a: &a\n  <<: *a",
        LAUGHS,
        LAUGHS.replace("[", "{k: [").replace("]", "]}"),
        "[" * 3000,
        "[" * 3000 + "]" * 3000,
        "{a: " * 3000 + "1" + "}" * 3000,
        "- " * 3000 + "a",
        "? " * 3000 + "a",
        "\n".join(" " * depth + "a:" for depth in range(1500)),
        "[a, b]: 1",
        "? {a: b}\n: 1",
        "? &a [*a]\n: 1",
        "a: !!python/object/apply:os.system ['true']",
        "a: !!python/name:os.system",
        "a: !own b",
        "a: !own {b: 1}",
        "a: !own [b]",
        "%TAG ! tag:example.org,2000:\n---\na: !b c",
        "a: !!binary aGVsbG8=",
        "a: !!binary '####'",
        "a: !!set {x, y}",
        "a: !!omap 3",
        "a: !!int x",
        "a: !!float x",
        "a: !!bool x",
        "a: !!int [1]",
        "a: !!str {b: 1}",
        "a: !!map [1]",
        "a: !!seq {b: 1}",
        "a: !!timestamp 2001-12-14",
        'a: "\\ud800"',
        'a: "\\UFFFFFFFF"',
        'a: "\\U00110000"',
        'a: "\\x"',
        "a: \x00",
        "a: \x07",
        "a: \ud800",
        "a: *b",
        "a: &",
        "a: *",
        "a: b\n---\nc: d",
        "b:\n  <<: 3",
        "%YAML 3.0\n---\na: b",
        "a: |99\n b",
        "a: !<",
        "\ta: 1",
    ],
    ids=lambda text: repr(text[:30]),
)
def test_refused_with_one_error_that_has_a_place(text: str) -> None:
    before = time.process_time()
    with pytest.raises(DataError) as caught:
        parse_yaml(text, FILE)
    assert caught.value.location is not None
    assert caught.value.location.file == FILE
    assert len(str(caught.value).splitlines()) <= 2
    assert len(str(caught.value)) < 400
    assert time.process_time() - before < 10


def test_what_editors_and_systems_leave_behind() -> None:
    assert read("\ufeffa: 1") == {"a": 1}
    assert read("a: 1\r\nb: |\r\n  x\r\n  y\r\n") == {"a": 1, "b": "x\ny\n"}
    assert read("a: 1\rb: 2") == {"a": 1, "b": 2}
    assert read("---\na: 1\n...\n") == {"a": 1}
    assert read("") is read("# nothing\n") is read("---\n") is None


def test_bytes_of_a_file_are_read_as_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_bytes("\ufeffa: é😀\r\n".encode())
    assert load_yaml(file) == {"a": "é😀"}
    for broken in (b"a: \xff", b"a: \xed\xa0\x80", "a: 1".encode("utf-16")):
        file.write_bytes(broken)
        with pytest.raises(DataError, match=r"a\.yml"):
            load_yaml(file)


def test_aliases_and_merge_keys() -> None:
    assert read("a: &a {x: 1}\nb: *a\nc: [*a, *a]") == {"a": {"x": 1}, "b": {"x": 1}, "c": [{"x": 1}, {"x": 1}]}
    assert read("a: &a {x: 1, y: 1}\nb:\n  <<: *a\n  y: 2") == {"a": {"x": 1, "y": 1}, "b": {"x": 1, "y": 2}}
    assert read("a: &a {x: 1}\nb: &b {y: 2}\nc:\n  <<: [*a, *b]") == {
        "a": {"x": 1},
        "b": {"y": 2},
        "c": {"x": 1, "y": 2},
    }


@pytest.mark.filterwarnings("error")
def test_an_anchor_may_be_used_again_without_a_word() -> None:
    assert read("a: &a 1\nb: &a 2\nc: *a") == {"a": 1, "b": 2, "c": 2}


def test_standard_tags_of_plain_values() -> None:
    assert read("a: !!str 3\nb: !!str x\nc: !!int '3'\nd: !!float '1.5'\ne: !!bool 'true'\nf: !!null ''") == {
        **{"a": "3", "b": "x", "c": 3},
        **{"d": 1.5, "e": True, "f": None},
    }
    assert read("a: !!map {b: !!seq [1]}") == {"a": {"b": [1]}}


@pytest.mark.parametrize("digits", [301, 5000])
def test_a_number_that_no_float_takes_stays_text(digits: int) -> None:
    assert read("a: " + "9" * digits) == {"a": "9" * digits}
    assert read("a: " + "9" * 300) == {"a": 10**300 - 1}


def test_keys_that_are_no_text_are_kept() -> None:
    content = parse_yaml("2: a\ntrue: b\nnull: c\n", FILE)
    assert plain(content) == {2: "a", True: "b", None: "c"}
    assert location_of(content, True) is not None
