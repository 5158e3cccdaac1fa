"""Tokenizers of a few hundred tokens with the control tokens and the chat templates' forms of well-known models.

Byte-level ones split text at control tokens only, as those of Llama 3 and Qwen2.5 do; Mistral's is of the
SentencePiece kind, which puts a mark before the first word.
"""

from __future__ import annotations

from typing import Any

CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Prints tools and calls in the manner of Qwen2.5.
CHATML_WITH_TOOLS = (
    "{{ '<|im_start|>system\nYou help.' }}"
    "{% if tools %}{{ '\n<tools>' }}{% for tool in tools %}{{ '\n' + (tool | tojson) }}{% endfor %}{{ '\n</tools>' }}"
    "{% endif %}{{ '<|im_end|>\n' }}{% for message in messages %}{{ '<|im_start|>' + message.role }}"
    "{% if message.content %}{{ '\n' + message.content }}{% endif %}{% for call in message.tool_calls or [] %}"
    '{{ \'\n<tool_call>\n{"name": "\' + call.function.name + \'", "arguments": \' }}'
    "{{ (call.function.arguments | tojson) + '}\n</tool_call>' }}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{{ '<|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\n<|eot_id|>' }}"
    "{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{{ message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] | trim + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
LLAMA_CONTROLS = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
QWEN_CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_prefix|>")
MISTRAL_CONTROLS = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]")


def byte_level(controls: tuple[str, ...], template: str, *, eos: str, bos: str | None = None) -> Any:
    """Bytes as tokens, ``controls`` as special tokens, each in the vocabulary's first places."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {name: number for number, name in enumerate([*controls, *sorted(alphabet)])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return _finished(PreTrainedTokenizerFast, inner, controls, template, eos, bos)


def chatml() -> Any:
    """With a template that adds a system message of its own, as SmolLM2's does."""
    return byte_level(("<|im_start|>", "<|im_end|>"), CHATML, bos="<|im_start|>", eos="<|im_end|>")


def llama() -> Any:
    return byte_level(LLAMA_CONTROLS, LLAMA, bos="<|begin_of_text|>", eos="<|eot_id|>")


def qwen() -> Any:
    """With ``<tool_call>`` as a token that is not special, as Qwen2.5 has it."""
    tokenizer = byte_level(QWEN_CONTROLS, CHATML_WITH_TOOLS, eos="<|im_end|>")
    tokenizer.add_tokens(["<tool_call>", "</tool_call>"])
    return tokenizer


def mistral(prefix: str = "first") -> Any:
    """``prefix``: where a word mark is put, ``first`` (v0.3) or ``always`` (older conversions)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = ["▁", *map(chr, range(33, 127)), "\n", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {name: number for number, name in enumerate([*MISTRAL_CONTROLS, *letters])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=prefix, split=False)
    inner.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    return _finished(PreTrainedTokenizerFast, inner, MISTRAL_CONTROLS, MISTRAL, "</s>", "<s>")


def _finished(kind: Any, inner: Any, controls: tuple[str, ...], template: str, eos: str, bos: str | None) -> Any:
    tokenizer = kind(tokenizer_object=inner, bos_token=bos, eos_token=eos, pad_token=eos)
    tokenizer.add_special_tokens({"additional_special_tokens": list(controls)})
    tokenizer.chat_template = template
    return tokenizer
