"""The Modelfile with which Ollama gives the model the very prompt that it was trained on.

Ollama renders prompts by a Go template of its own, adds a penalty for repetition and cuts long prompts unless told
otherwise. Format: https://docs.ollama.com/modelfile
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from rasa_ft.errors import DataError
from rasa_ft.serving.endpoint import MAX_TOKENS

# Letters only, so that no template trims or escapes them.
_SYSTEM, _USER, _ANSWER = "qsystemq", "quserq", "qanswerq"
_LONGEST = 8192


def modelfile(tokenizer: Any, *, stops: Sequence[str], context: int | None, weights: str = "model.gguf") -> str:
    """The text of a Modelfile for ``weights``.

    Args:
        tokenizer: with the chat template that training used.
        stops: the texts of the tokens that end an answer.
        context: the longest prompt that the model takes, in tokens; Ollama's own default would cut prompts.

    Raises:
        DataError: the chat template does something that Ollama's templates cannot.
    """
    template = go_template(tokenizer)
    if '"""' in template:
        raise DataError("the chat template holds three quotes, which a Modelfile cannot write.")
    parameters = {
        "temperature": "0",
        "repeat_penalty": "1",
        "num_ctx": str(min(context or _LONGEST, _LONGEST)),
        "num_predict": str(MAX_TOKENS),
    }
    lines = [
        "# Made by rasa_ft: the prompt is the one of training, decoding is greedy.",
        f"FROM ./{weights}",
        f'TEMPLATE """{template}"""',
        *(f"PARAMETER {name} {value}" for name, value in parameters.items()),
        *(f"PARAMETER stop {_quoted(stop)}" for stop in stops),
    ]
    return "\n".join(lines) + "\n"


def go_template(tokenizer: Any) -> str:
    """The tokenizer's chat template for one user message, with or without a system message, as a Go template.

    Found by rendering: what the chat template writes around the messages is taken as it is. A date that it writes stays
    the one of this moment.

    Raises:
        DataError: around other messages it writes something else.
    """
    user, system = {"role": "user", "content": _USER}, {"role": "system", "content": _SYSTEM}
    body = _filled(tokenizer, [user])
    with suppress(_Refused):  # by templates that take no system message
        body = f"{{{{ if .System }}}}{_filled(tokenizer, [system, user])}{{{{ else }}}}{body}{{{{ end }}}}"
    return f"{body}{{{{ .Response }}}}{_escaped(_end(tokenizer))}"


class _Refused(DataError):
    """The chat template refuses messages."""


def _filled(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> str:
    """What the chat template writes for these messages, with Go's names for what they hold."""
    text = _rendered(tokenizer, messages)
    _check_fills(tokenizer, text, messages)
    return _escaped(text).replace(_SYSTEM, "{{ .System }}").replace(_USER, "{{ .Prompt }}")


def _rendered(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> str:
    from jinja2 import TemplateError

    try:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))
    except (TemplateError, ValueError) as error:
        raise _Refused(f"the chat template refuses a conversation: {error}") from None


def _check_fills(tokenizer: Any, text: str, messages: Sequence[Mapping[str, str]]) -> None:
    """Other contents must appear in the same places and change nothing around them."""
    others = {_SYSTEM: "You are x.", _USER: "line one\n\nUSER: {{ two }} <b>"}
    filled = [{**message, "content": others[message["content"]]} for message in messages]
    expected = text
    for name, content in others.items():
        expected = expected.replace(name, content)
    if any(text.count(message["content"]) != 1 for message in messages) or _rendered(tokenizer, filled) != expected:
        raise DataError(
            "the chat template changes messages in a way that Ollama's templates cannot repeat.",
            hint="Serve the GGUF file with llama.cpp's own server, which uses the chat template inside it.",
        )


def _end(tokenizer: Any) -> str:
    """What the chat template writes after an answer."""
    asked = [{"role": "user", "content": _USER}]
    told = [*asked, {"role": "assistant", "content": _ANSWER}]
    return str(tokenizer.apply_chat_template(told, tokenize=False)).rpartition(_ANSWER)[2]


def _escaped(text: str) -> str:
    """``text`` with braces, which Go would take for its own, as Go's texts."""
    return text.replace("{", '{{ "{" }}')


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
