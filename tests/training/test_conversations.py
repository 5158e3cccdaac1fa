"""Token ids of conversations, calls of tools and ready texts, against what a chat endpoint builds."""

import json
import re
from pathlib import Path

import pytest
import real_schemas

pytest.importorskip("transformers", reason="training libraries are not installed")

import tiny_tokenizers

from rasa_ft.errors import DataError, Location, UsageError
from rasa_ft.training.chat_templates import apply_template, template_names
from rasa_ft.training.conversations import encode_conversation, encode_text
from rasa_ft.training.data_formats import read_row
from rasa_ft.training.prefix_tree import TrainingRow
from rasa_ft.training.rows import Conversation, PlainText
from rasa_ft.training.tokens import encode_example, end_token_id

PLACE = Location(Path("rows.jsonl"), 1)
TOKENIZERS = {"chatml": tiny_tokenizers.chatml, "llama": tiny_tokenizers.llama, "qwen": tiny_tokenizers.qwen}


def tokenizer_with(name, template=None):
    tokenizer = TOKENIZERS[name]()
    if template is not None:
        apply_template(tokenizer, template)
    return tokenizer


def learned(tokenizer, row: TrainingRow) -> list[str]:
    """What the labels of a row spell, piece by piece."""
    pieces, piece = [], []
    for label in [*row.labels, -100]:
        if label >= 0:
            piece.append(label)
        elif piece:
            pieces.append(tokenizer.decode(piece))
            piece = []
    return pieces


CALL = '<tool_call>\n{"name": "mean_grade", "arguments": {"grades": [90, 81], "hours": [3, 1]}}\n</tool_call>'


@pytest.mark.parametrize(
    ("name", "template"), [("qwen", None), ("qwen", "default"), ("llama", "default"), ("chatml", "default")]
)
def test_every_answer_is_learned_with_its_end(name, template):
    tokenizer = tokenizer_with(name, template)
    end = end_token_id(tokenizer)
    conversation = read_row(real_schemas.glaive(1), "sharegpt", PLACE)
    row = encode_conversation(tokenizer, conversation, end)
    stop = tokenizer.decode([end])
    answers = [CALL, "Your mean grade is 88.5.", "You are welcome."]
    assert [piece.strip() for piece in learned(tokenizer, row)] == [f"{answer}{stop}" for answer in answers]
    asked = tokenizer.apply_chat_template(
        list(conversation.messages[:-1]), tools=list(conversation.tools), add_generation_prompt=True
    )
    assert list(row.prompt) == list(asked["input_ids"])


@pytest.mark.parametrize("template", [None, "default", "alpaca", "llama2"])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_talk_is_learned_with_any_template(name, template):
    tokenizer = tokenizer_with(name, template)
    end = end_token_id(tokenizer)
    row = encode_conversation(tokenizer, read_row(real_schemas.oasst(3), "oasst", PLACE), end)
    stop = tokenizer.decode([end])
    pieces = [piece.removesuffix(stop).strip() for piece in learned(tokenizer, row)]
    assert pieces == ["首先，看地图。", "然后出发。", "不用谢 3"]
    assert row.completion[-1] == end


def test_a_last_answer_may_be_a_call():
    tokenizer = tokenizer_with("llama", "default")
    whole = read_row(real_schemas.glaive(1), "sharegpt", PLACE)
    row = encode_conversation(tokenizer, Conversation(whole.messages[:2], whole.tools, PLACE), end_token_id(tokenizer))
    assert tokenizer.decode(row.completion) == f"{CALL}<|eot_id|>"


@pytest.mark.parametrize("template", [None, "alpaca", "llama2"])
def test_templates_without_tools_are_refused(template):
    tokenizer = tokenizer_with("chatml", template)
    with pytest.raises(UsageError, match=r"does not write tools(.|\n)*chat_template: default"):
        encode_conversation(tokenizer, read_row(real_schemas.glaive(), "sharegpt", PLACE), 1)


def test_control_tokens_in_messages_stay_text():
    tokenizer = tokenizer_with("llama", "default")
    rows = []
    for word in ("hi", "<|eot_id|><|start_header_id|>"):
        talk = [("human", word), ("gpt", word), ("human", "b"), ("gpt", word)]
        conversation = read_row(
            {"conversations": [{"from": who, "value": what} for who, what in talk]}, "sharegpt", PLACE
        )
        rows.append(encode_conversation(tokenizer, conversation, end_token_id(tokenizer)))
    ends = [row.tokens.count(end_token_id(tokenizer)) for row in rows]
    assert ends == [4, 4]
    assert [len(learned(tokenizer, row)) for row in rows] == [2, 2]


def test_an_answer_that_the_template_writes_otherwise_later_is_not_learned():
    """As templates do that drop what a model thought before it spoke."""
    tokenizer = tokenizer_with("chatml")
    tokenizer.chat_template = (
        "{% for message in messages %}{{ '<|im_start|>' + message.role + ' ' }}"
        "{{ 'gone' if message.role == 'assistant' and not loop.last else message.content }}{{ '<|im_end|>' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant ' }}{% endif %}"
    )
    row = encode_conversation(tokenizer, read_row(real_schemas.oasst(3), "oasst", PLACE), end_token_id(tokenizer))
    assert learned(tokenizer, row) == ["不用谢 3<|im_end|>"]


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("llama", "<s>[INST] q [/INST] a </s>", "<|begin_of_text|>[INST] q [/INST] a <|eot_id|>"),
        ("llama", "### Q\nq\n### A\na", "<|begin_of_text|>### Q\nq\n### A\na<|eot_id|>"),
        ("qwen", "<s>[INST] q [/INST] a </s>", "[INST] q [/INST] a <|im_end|>"),
    ],
)
def test_texts_get_the_tokenizer_s_own_begin_and_end(name, text, wanted):
    tokenizer = adding_begin(tokenizer_with(name))
    row = encode_text(tokenizer, PlainText(text, PLACE))
    assert tokenizer.decode(row.tokens) == wanted
    assert row.labels[1:] == list(row.tokens[1:])


def adding_begin(tokenizer):
    """As Llama's tokenizers do when they are called; the tiny ones do not by themselves."""
    from tokenizers.processors import TemplateProcessing

    if tokenizer.bos_token is not None:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{tokenizer.bos_token} $A", special_tokens=[(tokenizer.bos_token, tokenizer.bos_token_id)]
        )
    return tokenizer


def test_texts_and_the_template_of_their_form_agree():
    """What a server asks a model that learned from such texts is how they begin."""
    tokenizer = adding_begin(tokenizer_with("llama"))
    apply_template(tokenizer, "llama2")
    text = encode_text(tokenizer, PlainText("<s>[INST] q [/INST] a </s><s>[INST] r [/INST] b </s>", PLACE))
    talk = [("user", "q"), ("assistant", "a"), ("user", "r")]
    messages = [{"role": role, "content": content} for role, content in talk]
    asked = list(tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"])
    assert list(text.tokens[: len(asked)]) == asked
    answered = tokenizer.apply_chat_template([*messages, {"role": "assistant", "content": "b"}])["input_ids"]
    assert list(answered) == list(text.tokens)


def test_our_templates_begin_as_the_tokenizer_does():
    one = [{"role": "user", "content": "x"}]
    for tokenizer, begin in (
        (tokenizer_with("llama"), ""),
        (adding_begin(tokenizer_with("llama")), "<|begin_of_text|>"),
    ):
        apply_template(tokenizer, "alpaca")
        assert tokenizer.apply_chat_template(one, tokenize=False).startswith(f"{begin}### Instruction")


@pytest.mark.parametrize("template", template_names())
def test_templates_serve_single_answers_too(template):
    tokenizer = tokenizer_with("llama", template)
    example = read_row(real_schemas.dialogsum(1), "dialogue-summary", PLACE, system=None)
    end = end_token_id(tokenizer)
    row = encode_example(tokenizer, example, end)
    assert tokenizer.decode(row.completion) == f"{example.completion}<|eot_id|>"
    assert "take the bus" in tokenizer.decode(row.prompt)


def test_a_template_of_one_s_own(tmp_path):
    tokenizer = tokenizer_with("llama")
    own = tmp_path / "own.jinja"
    own.write_text("{% for message in messages %}{{ message.content }}!{% endfor %}", encoding="utf-8")
    apply_template(tokenizer, str(own))
    assert tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False) == "x!"
    with pytest.raises(DataError, match=r"there is no 'alpacca'\. Did you mean 'alpaca'"):
        apply_template(tokenizer, "alpacca")


def test_calls_are_written_so_that_they_can_be_read():
    """Tags around JSON, several of them behind each other, behind words or without."""
    tokenizer = tokenizer_with("llama", "default")
    calls = [{"function": {"name": f"f{number}", "arguments": {"x": "ü\n"}}} for number in range(2)]
    messages = [{"role": "user", "content": "go"}, {"role": "assistant", "content": "ok", "tool_calls": calls}]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    found = [json.loads(one) for one in re.findall("<tool_call>(.*?)</tool_call>", text, re.DOTALL)]
    assert found == [{"name": f"f{number}", "arguments": {"x": "ü\n"}} for number in range(2)]
    # Clients send the arguments of earlier calls as text.
    as_text = [{"function": {"name": "f0", "arguments": '{"x": 1}'}}]
    again = tokenizer.apply_chat_template([messages[0], {**messages[1], "tool_calls": as_text}], tokenize=False)
    assert '{"name": "f0", "arguments": {"x": 1}}' in again


@pytest.mark.slow
@pytest.mark.vllm
def test_vllm_reads_our_calls():
    pytest.importorskip("vllm", reason="vLLM is not installed")
    from vllm.tool_parsers.hermes_tool_parser import Hermes2ProToolParser

    tokenizer = tokenizer_with("llama", "default")
    found = Hermes2ProToolParser(tokenizer).extract_tool_calls(CALL, None)
    assert found.tools_called
    assert [call.function.name for call in found.tool_calls] == ["mean_grade"]
    assert json.loads(found.tool_calls[0].function.arguments) == {"grades": [90, 81], "hours": [3, 1]}
