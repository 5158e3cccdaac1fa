"""The YAML dialect of CALM projects, with places."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.errors import DataError
from rasa_ft.yaml_source import did_you_mean, dump_yaml, expand_secret, load_yaml, location_of, parse_yaml, plain

FILE = Path("flows.yml")


def read(text: str) -> Any:
    return plain(parse_yaml(text, FILE))


def test_yaml_1_2_scalars() -> None:
    assert read("[yes, no, on, off, true, False, 0777, 1.5, 2024-05-01, null, '1']") == [
        *("yes", "no", "on", "off"),
        *(True, False, 777, 1.5, "2024-05-01", None, "1"),
    ]


def test_variables_expand_in_plain_scalars_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "5055")
    assert read('a: http://x:${PORT}/w\nb: "${PORT}"\nc: |\n  ${PORT}\n') == {
        "a": "http://x:5055/w",
        "b": "${PORT}",
        "c": "${PORT}\n",
    }


def test_secrets_stay_references_until_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sesame")
    content = read("api_key: ${MY_KEY}")
    assert content == {"api_key": "${MY_KEY}"}
    assert expand_secret(content["api_key"]) == expand_secret("$MY_KEY") == "sesame"
    assert expand_secret("dummy") == "dummy"
    with pytest.raises(DataError, match="NOT_THERE is not set"):
        expand_secret("${NOT_THERE}")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\na: 2", 2, "duplicate key"),
        ("a:\n  - [1, 2", 2, "not valid YAML"),
        ("a: 1\nb: ${NOT_THERE}", 2, "NOT_THERE is not set"),
        ("a: b: c", 1, "not valid YAML"),
        ("a: \t- x\n\tb", 1, "not valid YAML"),
    ],
)
def test_errors_name_file_and_line(text: str, line: int, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        parse_yaml(text, FILE)
    assert caught.value.location is not None
    assert caught.value.location.file == FILE
    assert caught.value.location.line in (line, line + 1)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_yaml(tmp_path / "none.yml")
    with pytest.raises(DataError, match="is a folder"):
        load_yaml(tmp_path)
    (tmp_path / "latin.yml").write_bytes("a: é".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        load_yaml(tmp_path / "latin.yml")


def test_locations_of_nodes_keys_and_items() -> None:
    content = parse_yaml("# head\na:\n  - x: 1\n    y:\n      z: 2\n  - k\nb: 3\n", FILE)
    assert str(location_of(content, "b")) == "flows.yml:7"
    assert str(location_of(content["a"], 1)) == "flows.yml:6"
    first = location_of(content["a"], 0)
    assert first is not None
    assert (first.line, first.end_line) == (3, 5)
    assert location_of("text") is None


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(st.characters(codec="utf-8", exclude_categories=["C"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(plain_values)
def test_dump_and_read_round_trip(value: Any) -> None:
    if "${" not in str(value):
        assert read(dump_yaml({"value": value})) == {"value": value}


def test_did_you_mean() -> None:
    assert did_you_mean("trasfer_money", ["transfer_money", "cancel"]) == " Did you mean 'transfer_money'?"
    assert did_you_mean("zzz", ["transfer_money"]) == ""


def test_folded_text_is_one_line():
    assert parse_yaml("a: >\n  one\n  two\n\n  three\nb: >-\n  x\n  y\nc: |\n  1\n  2\n", FILE) == {
        "a": "one two\nthree\n",
        "b": "x y",
        "c": "1\n2\n",
    }
