"""From text to objects with places: the same with libyaml and without it."""

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rasa_ft import yaml_nodes
from rasa_ft.errors import DataError
from rasa_ft.yaml_nodes import MAX_DEPTH, SourceList, SourceMap, read_nodes
from rasa_ft.yaml_source import dump_yaml, location_of, plain

FILE = Path("flows.yml")
needs_libyaml = pytest.mark.skipif(yaml_nodes._fast_parser() is None, reason="PyYAML has no libyaml here")


def read(text: str) -> Any:
    return read_nodes(text, FILE)


def shape(node: Any) -> Any:
    """A value with the types of its scalars and the places of everything in it."""
    if isinstance(node, SourceMap):
        return node.line, node.column, node.last, node.places, [(key, shape(value)) for key, value in node.items()]
    if isinstance(node, SourceList):
        return node.line, node.column, node.last, node.places, [shape(value) for value in node]
    return type(node), repr(node)


def outcome(text: str) -> Any:
    try:
        return shape(read(text))
    except DataError as error:
        return str(error)


def outcome_without_libyaml(text: str) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_nodes, "_fast_parser", lambda: None)
        return outcome(text)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(["yes", "0777", "2024-05-01", "a: b", "#", "- x", "{{ a }}", "${", "<<", "!", "|", ">", "x\ny\n"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=15,
)


@needs_libyaml
@given(st.dictionaries(st.text(max_size=6), values, max_size=4))
def test_both_parsers_read_what_is_written(value: dict[str, Any]):
    text = dump_yaml(value)
    assert outcome(text) == outcome_without_libyaml(text)


# Without aliases and documents: libyaml takes `*a: b` and more than one way to end a document.
PIECES = (
    *(
        "a",
        "key",
        ": ",
        ":",
        "- ",
        "-",
        "\n",
        "\n  ",
        "\n    ",
        " ",
        "'",
        '"',
        "{",
        "}",
        "[",
        "]",
        ", ",
        "|",
        ">",
        "|-",
    ),
    *(
        "&x ",
        "!",
        "!!str ",
        "#",
        " # c",
        "? ",
        "%",
        "@",
        "`",
        "\\n",
        "\\x41",
        "\t",
        "1",
        "0x1",
        "-1.5",
        "true",
        "~",
        "<<",
    ),
    *(
        "<<: ",
        "${X}",
        "é",
        "😀",
        "\u2028",
        "\x85",
        "=",
        "''",
        "a:b",
        "a#b",
        "://",
        "\x01",
        "\ufeff",
        "\xa0",
        "?a",
        "-a",
    ),
)


@needs_libyaml
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@example("a:\n  b:\n\n# the end\nc: 1")
@example("a: |#x\n  b")
@example("a: >2\n    b\n   c")
@example("\n...\n")
@example("%YAML 1.2\n---\na: b")
def test_both_parsers_agree_on_any_text(text: str):
    fast, careful = outcome(f"k: {text}"), outcome_without_libyaml(f"k: {text}")
    assert fast == careful


@needs_libyaml
def test_ordinary_text_is_read_by_libyaml(monkeypatch: pytest.MonkeyPatch):
    careful: list[str] = []
    slow = yaml_nodes._careful_events
    monkeypatch.setattr(yaml_nodes, "_careful_events", lambda text, file: careful.append(text) or slow(text, file))
    ordinary = "a: {b: [1, 'é', \"😀\"]}\nc: |\n  Hello! 50 % of <b>...</b>\nd: &x {e: f}\ng: {<<: *x}\n"
    assert plain(read(ordinary))["g"] == {"e": "f"}
    assert careful == []
    unsure = ["a: b \tc", "%YAML 1.2\n---\na: b", "a: !!str 1", "a: b\n...\n", "\ufeffa: b", "a: [b"]
    for text in unsure:
        outcome(text)
    assert careful == unsure


def test_without_pyyaml_the_other_parser_reads(monkeypatch: pytest.MonkeyPatch):
    yaml_nodes._fast_parser.cache_clear()
    monkeypatch.setitem(sys.modules, "yaml.cyaml", None)
    try:
        assert yaml_nodes._fast_parser() is None
        assert read("a: [1]") == {"a": [1]}
    finally:
        yaml_nodes._fast_parser.cache_clear()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1_000", 1000),
        ("+5", 5),
        ("-017", -17),
        ("0o17", 15),
        ("-0x1F", -31),
        ("0b1_1", 3),
        ("0o8", "0o8"),
        ("-_", "-_"),
        ("1.", 1.0),
        ("+.5", 0.5),
        ("1e3", 1000.0),
        ("0.1e-3", 0.0001),
        (".5e3", ".5e3"),
        ("1e400", float("inf")),
        ("-.inf", float("-inf")),
        ("._", "._"),
        ("1.0.0", "1.0.0"),
        ("12:30", "12:30"),
        ("-", "-"),
        ("9" * 5000, "9" * 5000),
        ("Null", None),
        ("", None),
        ("tRUE", "tRUE"),
        ("=", "="),
        ("<<", "<<"),
        ("!!str 12", "12"),
        ("! 12", "12"),
        ("!!int '12'", 12),
        ("!!float 1", 1.0),
        ("!!bool TRUE", True),
        ("!!null x", None),
    ],
)
def test_scalars(text: str, value: Any):
    found = read(f"[{text}]" if text != "-" else f"['{text}']") if text else read("a:")["a"]
    found = found[0] if isinstance(found, list) else found
    assert (type(found), found) == (type(value), value)
    assert str(read("[.nan]")[0]) == "nan"


def test_merged_keys_stand_last_and_the_first_mapping_counts():
    content = read("a: &x {p: 1, q: 2}\nb: &y {q: 3, r: 4}\nc: {z: 0, <<: [*x, *y], q: 9}\n'<<': text\n")
    assert list(content["c"].items()) == [("z", 0), ("q", 9), ("p", 1), ("r", 4)]
    assert content["<<"] == "text"
    assert str(location_of(content["c"], "q")) == str(location_of(content["c"], "p")) == "flows.yml:3"
    with pytest.raises(DataError, match="duplicate key"):
        read("a: &x {p: 1}\nb:\n  <<: *x\n  <<: *x\n")


def test_an_alias_is_the_same_object():
    content = read("- &a {x: 1}\n- *a\n- &b text\n- *b\n- !!map {}\n- !!seq []\n")
    assert content[0] is content[1]
    assert content[2:] == ["text", "text", {}, []]
    assert [str(location_of(content, index)) for index in (0, 1)] == ["flows.yml:1", "flows.yml:2"]


def test_aliases_that_multiply_are_refused_only_when_they_do():
    assert len(read("a: &a [1, 2]\nb: [" + "*a, " * 1000 + "]")["b"]) == 1000
    tower = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{below}'] * 10)}]\n" for below, name in zip("abcdef", "bcdefg", strict=True)
    )
    with pytest.raises(DataError, match="too large") as caught:
        read(tower)
    assert caught.value.location is not None
    assert caught.value.location.line == 6


def test_depth_is_limited():
    assert read("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(DataError, match="levels deep"):
        read("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


def test_a_key_without_a_value_ends_where_it_stands():
    assert location_of(read("a:\n  b:\n\n\n# far below\n"), "a").end_line == 2  # type: ignore[union-attr]


def test_an_undefined_variable_has_a_line_and_a_column():
    with pytest.raises(DataError, match="NOT_THERE is not set") as caught:
        read("a: '${NO}'\nb: ${NOT_THERE}")
    assert caught.value.location is not None
    assert (caught.value.location.line, caught.value.location.column) == (2, 4)


def test_a_version_that_does_not_exist_is_refused():
    with pytest.raises(DataError, match="its version is not"):
        read("%YAML 1.21\n---\na: b")
    assert read("%YAML 1.1\n---\na: yes") == {"a": "yes"}
