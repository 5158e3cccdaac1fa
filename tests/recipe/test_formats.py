from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.calm.commands import CancelFlow, ChitChat, Clarify, Command, Knowledge, SetSlot, StartFlow
from rasa_ft.calm.dsl import codec_for
from rasa_ft.errors import DataError
from rasa_ft.recipe.conversations import DataPoint
from rasa_ft.recipe.rows import formats
from rasa_ft.recipe.rows.formats import FunctionCalling, OutputFormat, formatted, read_row, write_rows
from rasa_ft.recipe.rows.function_calling import command_tools
from rasa_ft.training.rows import read_examples

CODEC = codec_for("v2")
CALLING = FunctionCalling(CODEC, command_tools({}, {}))
FORMATS: tuple[OutputFormat, ...] = get_args(OutputFormat)
TEXT_FORMATS = tuple(name for name in FORMATS if name != "tools")
PROMPT = "Flows: book\nAsked: none\nUSER: a desk – «now»\n"


def point(
    completion: str = "start flow book\nset slot day Friday", *, prompt: str = PROMPT, turn: int = 0
) -> DataPoint:
    return DataPoint(
        prompt=prompt,
        completion=completion,
        conversation="tests.yml::a desk",
        turn=turn,
        history=0,
        kind="original",
        original="a desk – «now»",
        message="a desk – «now»",
    )


_USER, _ASSISTANT = {"role": "user", "content": "p"}, {"role": "assistant", "content": "cancel flow"}


@pytest.mark.parametrize(
    ("output_format", "row"),
    [
        ("instruction", {"prompt": "p", "completion": "cancel flow"}),
        (
            "conversational",
            {"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "cancel flow"}]},
        ),
        ("openai", {"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "cancel flow"}]}),
        ("prompt-completion", {"prompt": [_USER], "completion": [_ASSISTANT]}),
        ("sharegpt", {"conversations": [{"from": "human", "value": "p"}, {"from": "gpt", "value": "cancel flow"}]}),
        ("alpaca", {"instruction": "p", "input": "", "output": "cancel flow"}),
        (
            "tools",
            {
                "messages": [
                    _USER,
                    {
                        "role": "assistant",
                        "tool_calls": [
                            {
                                "id": "command00",
                                "type": "function",
                                "function": {"name": "cancel_flow", "arguments": "{}"},
                            }
                        ],
                    },
                ],
                "tools": CALLING.tools,
            },
        ),
    ],
)
def test_keys_of_every_format(output_format: OutputFormat, row: dict[str, Any]) -> None:
    assert formatted(point("cancel flow", prompt="p"), output_format, CALLING) == row


identifiers = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
words = st.from_regex(r"[A-Za-zé0-9]{1,5}( [A-Za-zé0-9]{1,5}){0,2}", fullmatch=True)
commands = st.lists(
    st.one_of(
        st.builds(StartFlow, identifiers),
        st.builds(SetSlot, identifiers, words | st.none()),
        st.builds(Clarify, st.lists(identifiers, min_size=1, max_size=3).map(tuple)),
        st.sampled_from([CancelFlow(), ChitChat(), Knowledge()]),
    ),
    min_size=1,
    max_size=4,
).map(tuple)


@pytest.mark.parametrize("output_format", FORMATS)
@given(prompt=st.text(min_size=1), answer=commands, version=st.sampled_from(["v1", "v2", "v3"]))
def test_prompt_and_commands_come_back(
    output_format: OutputFormat, prompt: str, answer: tuple[Command, ...], version: str
) -> None:
    codec = codec_for(version)
    answer = codec.parse(codec.dump(answer))  # values that the syntax itself reads as "none"
    row = formatted(point(codec.dump(answer), prompt=prompt), output_format, FunctionCalling(codec, CALLING.tools))
    assert read_row(json.loads(json.dumps(row)), codec) == (prompt, answer)


@pytest.mark.parametrize("output_format", TEXT_FORMATS)
def test_our_training_reads_every_text_format_alike(tmp_path: Path, output_format: OutputFormat) -> None:
    points = [point(turn=turn) for turn in range(10)]
    write_rows(tmp_path, {"train": points}, {"tests.yml::a desk": "g"}, output_format)
    examples = read_examples(tmp_path / formats.SPLITS / "train.jsonl")
    assert len(examples) == 10
    assert examples[0].messages == ({"role": "user", "content": PROMPT},)
    assert examples[0].completion == "start flow book\nset slot day Friday"


def test_our_training_says_that_it_does_not_train_calls(tmp_path: Path) -> None:
    write_rows(tmp_path, {"train": [point()] * 10}, {"tests.yml::a desk": "g"}, "tools", CALLING)
    with pytest.raises(DataError, match="another --output-format than tools"):
        read_examples(tmp_path / formats.SPLITS / "train.jsonl")


@pytest.mark.parametrize("output_format", ["openai", "tools"])
def test_openai_takes_no_fewer_than_ten_rows(tmp_path: Path, output_format: OutputFormat) -> None:
    groups = {"tests.yml::a desk": "g"}
    with pytest.raises(DataError, match="at least 10 rows, and there are only 9"):
        write_rows(tmp_path, {"train": [point()] * 9, "val": [point()] * 9}, groups, output_format, CALLING)
    write_rows(tmp_path, {"train": [point()] * 10, "val": [point()]}, groups, output_format, CALLING)


def test_an_answer_without_commands_cannot_be_called(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test 'tests.yml::a desk', turn 3: the answer has no command"):
        formatted(point("hello", turn=2), "tools", CALLING)
    with pytest.raises(ValueError, match="needs the assistant's tools"):
        formatted(point(), "tools")


@pytest.mark.parametrize(
    ("output_format", "columns"),
    [
        ("sharegpt", {"formatting": "sharegpt", "columns": {"messages": "conversations"}}),
        (
            "alpaca",
            {"formatting": "alpaca", "columns": {"prompt": "instruction", "query": "input", "response": "output"}},
        ),
    ],
)
def test_llama_factory_finds_the_files(tmp_path: Path, output_format: OutputFormat, columns: dict[str, Any]) -> None:
    groups = {"tests.yml::a desk": "g"}
    write_rows(tmp_path, {"train": [point()], "val": [point()]}, groups, output_format)
    info = json.loads((tmp_path / formats.SPLITS / formats.DATASET_INFO).read_text())
    assert info == {f"commands_{part}": {"file_name": f"{part}.jsonl", **columns} for part in ("train", "val")}
    assert all((tmp_path / formats.SPLITS / entry["file_name"]).is_file() for entry in info.values())


def test_empty_parts_are_no_dataset(tmp_path: Path) -> None:
    write_rows(tmp_path, {"train": [point()], "val": []}, {"tests.yml::a desk": "g"}, "alpaca")
    assert list(json.loads((tmp_path / formats.SPLITS / formats.DATASET_INFO).read_text())) == ["commands_train"]
    write_rows(tmp_path / "other", {"train": [point()]}, {"tests.yml::a desk": "g"}, "conversational")
    assert not (tmp_path / "other" / formats.SPLITS / formats.DATASET_INFO).exists()
