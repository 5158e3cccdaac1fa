"""Rows of well-known data sets: what they become, and that no row whatever does more than give an error."""

import csv
import io
import json
from pathlib import Path

import pytest
import real_schemas
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.errors import DataError, Location
from rasa_ft.training.data_formats import SUMMARY_INSTRUCTION, XLAM_SYSTEM, read_row
from rasa_ft.training.rows import Conversation, Example, PlainText
from rasa_ft.training.sections import COLUMNS, SourceSection
from rasa_ft.training.sources import read_source

PLACE = Location(Path("rows.jsonl"), 7)


def said(messages):
    return [(message["role"], message["content"]) for message in messages]


def test_xlam_is_a_question_under_its_tools():
    row = real_schemas.xlam(3)
    example = read_row(row, "xlam", PLACE)
    assert said(example.messages) == [("system", f"{XLAM_SYSTEM}\n\n{row['tools']}"), ("user", row["query"])]
    assert json.loads(example.completion) == [{"name": "rent_bicycle", "arguments": {"station": "mill", "hours": 3}}]
    other = read_row(row, "xlam", PLACE, system="Call these.")
    assert other.messages[0]["content"] == f"Call these.\n\n{row['tools']}"


def test_sharegpt_has_calls_results_and_tools():
    conversation = read_row(real_schemas.glaive(2), "sharegpt", PLACE)
    assert isinstance(conversation, Conversation)
    roles = [message["role"] for message in conversation.messages]
    assert roles == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    (call,) = conversation.messages[1]["tool_calls"]
    arguments = {"grades": [90, 82], "hours": [3, 1]}
    assert call == {"type": "function", "function": {"name": "mean_grade", "arguments": arguments}}
    assert conversation.tools == ({"type": "function", "function": real_schemas.GRADES_TOOL},)


def test_sharegpt_takes_tools_and_calls_in_either_form():
    row = real_schemas.glaive(2)
    wrapped = {**row, "tools": [{"type": "function", "function": real_schemas.GRADES_TOOL}]}
    assert read_row(wrapped, "sharegpt", PLACE).tools == read_row(row, "sharegpt", PLACE).tools
    several = json.dumps([{"name": "a", "arguments": "{}"}, {"name": "b", "arguments": {"x": 1}}])
    talk = [{"from": "human", "value": "go"}, {"from": "function_call", "value": several}]
    calls = read_row({"conversations": talk}, "sharegpt", PLACE).messages[-1]["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == [{}, {"x": 1}]


def test_one_question_with_one_answer_is_an_example():
    example = read_row(real_schemas.glaive_without_tools(), "sharegpt", PLACE)
    assert example == Example(({"role": "user", "content": "What is a tide?"},), "The sea, rising and falling.", PLACE)
    assert read_row(real_schemas.alpaca(4), "alpaca", PLACE).messages[0]["content"] == "Name the capital.\nCountry 4"


def test_history_comes_first():
    conversation = read_row(real_schemas.oasst(1), "oasst", PLACE, system="s")
    assert said(conversation.messages) == [
        ("system", "s"),
        ("user", "请给我一个计划"),
        ("assistant", "首先，看地图。"),
        ("user", "然后呢？"),
        ("assistant", "然后出发。"),
        ("user", "谢谢"),
        ("assistant", "不用谢 1"),
    ]
    assert read_row(real_schemas.oasst(1), "alpaca", PLACE, system="s") == conversation


def test_texts_and_summaries():
    assert read_row(real_schemas.guanaco(1), "text", PLACE) == PlainText(real_schemas.guanaco(1)["text"], PLACE)
    row = real_schemas.dialogsum(5)
    example = read_row(row, "dialogue-summary", PLACE)
    assert said(example.messages) == [("user", f"{SUMMARY_INSTRUCTION}\n\n{row['dialogue']}")]
    assert example.completion == row["summary"]


def test_columns_may_have_other_names():
    row = {"question": "q", "response": "r", "dialogue": 3}
    example = read_row(row, "alpaca", PLACE, columns={"instruction": "question", "output": "response"})
    assert (example.messages[0]["content"], example.completion) == ("q", "r")


@pytest.mark.parametrize("kind", ["alpaca", "commands", "sharegpt"])
def test_a_system_text_of_the_row_stays(kind):
    rows = {
        "alpaca": {"instruction": "a", "output": "b", "system": "own"},
        "commands": {"messages": [{"role": "system", "content": "own"}, *turn("a", "b")]},
        "sharegpt": {"conversations": talk("human", "gpt"), "system": "own"},
    }
    example = read_row(rows[kind], kind, PLACE, system="recipe's")
    assert [content for role, content in said(example.messages) if role == "system"] == ["own"]


def turn(asked, answered):
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]


def talk(*speakers):
    return [{"from": speaker, "value": "x"} for speaker in speakers]


BROKEN = [
    ("xlam", {"query": "q", "tools": "[]", "answers": "[{"}, "answers is not JSON"),
    ("xlam", {"query": "q", "tools": "{}", "answers": "[]"}, "tools has to be a JSON list"),
    ("xlam", {"query": "q", "tools": "[]", "answers": '[{"arguments": {}}]'}, "a function call is"),
    ("xlam", {"query": " ", "tools": "[]", "answers": "[]"}, "query has to be a text"),
    ("sharegpt", {"conversations": talk("human", "gbt")}, "'gbt' is no speaker.*Did you mean 'gpt'"),
    ("sharegpt", {"conversations": talk("gpt", "human")}, "take turns, human first"),
    ("sharegpt", {"conversations": talk("human", "human")}, "take turns"),
    ("sharegpt", {"conversations": talk("human", "gpt", "human")}, "last message has to be the assistant's"),
    ("sharegpt", {"conversations": []}, "last message has to be the assistant's"),
    ("sharegpt", {"conversations": talk("human", "function_call")}, "function_call is not JSON"),
    ("sharegpt", {"conversations": talk("human", "gpt"), "tools": '[{"x": 1}]'}, "a tool has no name"),
    ("sharegpt", {"conversations": [{"from": "human"}]}, "needs from and value"),
    ("alpaca", {"instruction": "a", "output": ""}, "output has to be a text"),
    ("alpaca", {"instruction": None, "input": "", "output": "b"}, "instruction has to be a text"),
    ("oasst", {"instruction": "a", "output": "b", "history": [["c"]]}, "history has to be a list of pairs"),
    ("text", {"txt": "a"}, "text has to be a text"),
    ("dialogue-summary", {"dialogue": "a", "summary": 3}, "summary has to be a text"),
    ("text", ["a"], "a row of format text is a mapping"),
    ("commands", {"text": "a"}, "a row needs"),
]


@pytest.mark.parametrize(("kind", "row", "reason"), BROKEN)
def test_broken_rows_say_where_and_why(kind, row, reason):
    with pytest.raises(DataError, match=f"rows.jsonl:7: .*{reason}"):
        read_row(row, kind, PLACE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_subnormal=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NEARLY = st.sampled_from(["human", "gpt", "function_call", "observation", "system", "[]", "[{}]", '{"name": "f"}', ""])
VALUE = (
    JSON
    | NEARLY
    | st.lists(st.fixed_dictionaries({"from": NEARLY | JSON, "value": NEARLY | JSON}), max_size=4)
    | st.lists(st.lists(NEARLY, max_size=3), max_size=3)
)


@given(st.data(), st.sampled_from(sorted(COLUMNS)))
def test_no_row_does_more_than_give_an_error(data, kind):
    keys = COLUMNS[kind] or ("messages", "prompt", "completion", "instruction", "output")
    row = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(keys, VALUE)) | JSON)
    try:
        found = read_row(row, kind, PLACE)
    except DataError as problem:
        assert problem.location == PLACE
        return
    assert isinstance(found, Example | Conversation | PlainText)
    if isinstance(found, Conversation):
        assert found.messages[-1]["role"] == "assistant"


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip)


@given(WORDS, st.lists(st.tuples(WORDS, WORDS), max_size=3), WORDS)
def test_what_goes_into_a_conversation_comes_out(asked, history, answer):
    alpaca = read_row(
        {"instruction": asked, "output": answer, "history": [list(pair) for pair in history]}, "oasst", PLACE
    )
    pairs = [*history, (asked, answer)]
    spoken = [part for one, other in pairs for part in (("human", one), ("gpt", other))]
    sharegpt = read_row({"conversations": [{"from": who, "value": what} for who, what in spoken]}, "sharegpt", PLACE)
    assert alpaca == sharegpt
    everything = (*alpaca.messages, *(turn("", alpaca.completion)[1:] if isinstance(alpaca, Example) else ()))
    assert [message["content"] for message in everything] == [what for _, what in spoken]


# -- files -------------------------------------------------------------------------------------------------------------


def contents(rows: list[dict[str, str]]) -> dict[str, bytes]:
    import pyarrow
    from pyarrow import parquet

    table = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    sheet = io.StringIO()
    writer = csv.DictWriter(sheet, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return {
        "rows.jsonl": "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode(),
        "rows.json": json.dumps(rows, indent=1).encode(),
        "rows.csv": sheet.getvalue().encode(),
        "rows.parquet": table.getvalue(),
    }


def test_every_kind_of_file_gives_the_same_rows(tmp_path):
    pytest.importorskip("pyarrow", reason="training libraries are not installed")
    rows = [{"dialogue": f"é\u2028 “{number}”,\nb", "summary": "s"} for number in range(3)]
    for name, content in contents(rows).items():
        (tmp_path / name).write_bytes(content)
        found, problems = read_source(SourceSection(path=tmp_path / name, format="dialogue-summary"))
        assert [row.messages[0]["content"].partition("\n\n")[2] for row in found] == [row["dialogue"] for row in rows]
        assert problems == []


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("a.jsonl", '{"text": "a"}\n\n{"txt": 1}\n{\n{"text": "b"}', [3, 4]),
        ("a.json", '[\n {"text": "a"},\n {"txt":\n  1},\n 3\n, {"text": "b"}]', [3, 5]),
        ("a.json", '[{"text": "a"},\n {"text": "b"},\n {"text" 3}]', [3]),
        ("a.json", '[{"text": "a"}\n {"text": "b"}]', [2]),
        ("a.json", '{"text": "a"}\n{"txt": "b"}\n{"text": "c"}', [2]),
        ("a.csv", 'text,other\na,1\n"",2\n"b\nc",3\n" ",4\nd', [3, 6]),
    ],
)
def test_problems_have_the_line_of_their_row(tmp_path, name, text, lines):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    rows, problems = read_source(SourceSection(path=path, format="text"))
    assert rows
    assert [problem.location for problem in problems] == [Location(path, line) for line in lines]


def test_only_the_first_rows_are_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\nnonsense\n', encoding="utf-8")
    rows, problems = read_source(SourceSection(path=path, format="text", max_samples=2))
    assert ([row.text for row in rows], problems) == (["a", "b"], [])


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("gone.jsonl", None, "does not exist"),
        ("empty.jsonl", b"", "has no rows"),
        ("empty.json", b"[]", "has no rows"),
        ("bytes.jsonl", b"\xff\xfe", "cannot read"),
        ("bytes.parquet", b"no parquet", "not a parquet file"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, reason):
    pytest.importorskip("pyarrow", reason="training libraries are not installed")
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read_source(SourceSection(path=path, format="text"))


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")), st.data())
def test_no_file_does_more_than_give_errors(tmp_path_factory, content, data):
    suffix = data.draw(st.sampled_from([".jsonl", ".json", ".csv"]))
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(content)
    try:
        read_source(SourceSection(path=path, format="text"))
    except DataError as problem:
        assert str(path) in str(problem)
