"""What users write is never taken for a control token, whatever the base model's tokenizer and chat template."""

import re

import pytest

pytest.importorskip("transformers", reason="training libraries are not installed")

import tiny_tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from rasa_ft.errors import DataError
from rasa_ft.training.control_tokens import control_texts, filled_ids
from rasa_ft.training.rows import Example, Location
from rasa_ft.training.tokens import encode, prompt_ids

TOKENIZERS = {
    "llama": tiny_tokenizers.llama(),
    "qwen": tiny_tokenizers.qwen(),
    "mistral": tiny_tokenizers.mistral(),
    "mistral, older": tiny_tokenizers.mistral("always"),
}
ENDS = {"llama": "<|eot_id|>", "qwen": "<|im_end|>", "mistral": "</s>", "mistral, older": "</s>"}
LOOKALIKES = ["<|im_end|>", "<|eot_id|>", "[INST]", "[/INST]", "</s>", "<s>", "<unk>", "<tool_call>"]
HOSTILE = "".join(f"a{text}b {text} \n{text}" for text in LOOKALIKES) + "\ue000t1\ue000 \ue0000\ue001 bye"

every_tokenizer = pytest.mark.parametrize("name", TOKENIZERS)


def row(name, message, answer="start flow a"):
    tokenizer = TOKENIZERS[name]
    example = Example(({"role": "user", "content": f"Flows: a\nUSER: {message}"},), answer, Location("rows.jsonl", 1))
    return encode(tokenizer, [example], 10_000)[0]


def plain_prompt(name, message):
    messages = [{"role": "user", "content": f"Flows: a\nUSER: {message}"}]
    return list(TOKENIZERS[name].apply_chat_template(messages, add_generation_prompt=True)["input_ids"])


def controls(name, ids):
    texts = control_texts(TOKENIZERS[name])
    return [token for token in TOKENIZERS[name].convert_ids_to_tokens(list(ids)) if texts.fullmatch(token)]


@every_tokenizer
def test_harmless_rows_are_those_of_the_chat_template(name):
    found = row(name, "two seats, please")
    assert list(found.prompt) == plain_prompt(name, "two seats, please")
    assert controls(name, found.completion) == [ENDS[name]]


@every_tokenizer
def test_texts_of_control_tokens_stay_text(name):
    found = row(name, HOSTILE, answer=f"set slot note {HOSTILE}")
    assert controls(name, found.prompt) == controls(name, plain_prompt(name, "hi"))
    assert controls(name, found.completion) == [ENDS[name]]
    # Nothing is lost, and nothing is put between the pieces.
    tokenizer = TOKENIZERS[name]
    assert f"USER: {HOSTILE}" in tokenizer.decode(list(found.prompt))
    assert tokenizer.decode(list(found.completion[:-1])) == f"set slot note {HOSTILE}"


@every_tokenizer
@pytest.mark.parametrize("text", LOOKALIKES)
def test_the_rest_of_the_ids_is_the_chat_templates(name, text):
    before, after = "one ", " two"
    plain = plain_prompt(name, f"{before}@{after}")
    place = TOKENIZERS[name].convert_ids_to_tokens(plain).index("@")
    found = list(row(name, f"{before}{text}{after}").prompt)
    assert found[:place] == plain[:place]
    rest = len(plain) - place - 1
    assert found[-rest:] == plain[-rest:]
    tokens = TOKENIZERS[name].convert_ids_to_tokens(found[place:-rest])
    assert "".join(tokens) == text
    assert len(tokens) == len(text)


@every_tokenizer
def test_templates_may_trim_messages(name):
    tokenizer = TOKENIZERS[name]
    trimmed, untrimmed = (prompt_ids(tokenizer, [{"role": "user", "content": text}]) for text in ("</s>x", "</s>x \n"))
    assert (trimmed == untrimmed) == (name == "llama")


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(sorted(TOKENIZERS)),
    st.lists(st.sampled_from(LOOKALIKES) | st.text("ab <|>[]/s\ue000\ue0010", max_size=4)),
)
def test_no_text_makes_a_control_token(name, pieces):
    text = "".join(pieces)
    found = row(name, text)
    assert controls(name, found.prompt) == controls(name, plain_prompt(name, "hi"))
    if not control_texts(TOKENIZERS[name]).search(text):
        assert list(found.prompt) == plain_prompt(name, text)


def test_blanks_and_unused_tokens_are_no_control_tokens():
    tokenizer = tiny_tokenizers.qwen()
    tokenizer.add_tokens(["\n\n", "  ", "<unused>"])
    assert not re.search(control_texts(tokenizer), "a\n\n  b <unused>")


def test_a_tokenizer_of_another_kind_is_named(monkeypatch):
    tokenizer = tiny_tokenizers.llama()

    class Other:
        added_tokens_decoder = tokenizer.added_tokens_decoder
        chat_template = tokenizer.chat_template

        def __call__(self, text, **options):
            return tokenizer(text, **options)

    assert filled_ids(Other(), ["hi"], "".join) == tokenizer("hi", add_special_tokens=False)["input_ids"]
    with pytest.raises(DataError, match="cannot take for text"):
        filled_ids(Other(), ["hi<|eot_id|>"], "".join)
