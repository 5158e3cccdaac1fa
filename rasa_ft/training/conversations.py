"""Token ids of rows that are more than one prompt with one answer: conversations, calls of tools, ready texts.

A conversation's last answer is encoded as `tokens` does it: what the chat endpoint sees, then the answer, then the end
token. Earlier answers stand in that prompt as the chat template writes them, and are learned where it keeps them as
they were said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from rasa_ft.errors import UsageError
from rasa_ft.training.control_tokens import filled_ids
from rasa_ft.training.prefix_tree import TrainingRow
from rasa_ft.training.rows import Conversation, PlainText

Message = dict[str, Any]


def encode_conversation(tokenizer: Any, conversation: Conversation, end: int) -> TrainingRow:
    """Prompt, last answer, and the spans of earlier answers; ``end`` is the token that ends an answer.

    Raises:
        UsageError: the chat template leaves out tools or calls of them.
    """
    chat = _Chat(tokenizer, conversation)
    _check_tools(chat)
    last = len(conversation.messages) - 1
    prompt = chat.ids(last, opened=True)
    answers = [number for number, message in enumerate(conversation.messages) if message["role"] == "assistant"]
    spans = [_span(chat, number, prompt, end) for number in answers[:-1]]
    return TrainingRow(
        prompt=tuple(prompt),
        completion=(*_answer(chat, last, end), end),
        group=conversation.location,
        learned=tuple(span for span in spans if span is not None),
    )


def encode_text(tokenizer: Any, row: PlainText) -> TrainingRow:
    """A ready text with the tokenizer's own begin and end around it; all of it is learned.

    Texts are often written for Llama 2, whose begin and end are ``<s>`` and ``</s>``: these become the tokenizer's own.
    """
    begin, end = tokenizer.bos_token or "", tokenizer.eos_token or ""
    text = row.text.strip().replace("<s>", begin).replace("</s>", end)
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if adds_begin(tokenizer) and ids[:1] != [tokenizer.bos_token_id]:
        ids.insert(0, tokenizer.bos_token_id)
    if tokenizer.eos_token_id is not None and ids[-1:] != [tokenizer.eos_token_id]:
        ids.append(tokenizer.eos_token_id)
    return TrainingRow(tuple(ids[:1]), tuple(ids[1:]), row.location)


def adds_begin(tokenizer: Any) -> bool:
    """Whether the tokenizer puts a begin token before a text."""
    begin = tokenizer.bos_token_id
    return begin is not None and list(tokenizer("x")["input_ids"])[:1] == [begin]


class _Chat:
    """A conversation as its chat template writes it, up to any message."""

    def __init__(self, tokenizer: Any, conversation: Conversation) -> None:
        self.tokenizer = tokenizer
        self.conversation = conversation

    def text(self, count: int, *, opened: bool, contents: Sequence[str] | None = None) -> str:
        """The first ``count`` messages; ``opened``: the assistant's turn begins after them."""
        messages = list(self.conversation.messages[:count])
        if contents is not None:
            messages = [{**one, "content": text} for one, text in zip(messages, contents, strict=True)]
        return str(
            self.tokenizer.apply_chat_template(
                messages,
                tools=list(self.conversation.tools) or None,
                tokenize=False,
                add_generation_prompt=opened,
            )
        )

    def ids(self, count: int, *, opened: bool) -> list[int]:
        """As `text`, as token ids; what was said in words never becomes a control token."""
        said = [message["content"] for message in self.conversation.messages[:count]]
        return filled_ids(self.tokenizer, said, lambda texts: self.text(count, opened=opened, contents=texts))


def _span(chat: _Chat, number: int, prompt: Sequence[int], end: int) -> tuple[int, int] | None:
    """Where the answer ``number`` stands in the prompt, its end token included; None if it is written otherwise there.

    A tokenizer may merge the last character of what comes before with the first one of the answer, not more.
    """
    before = chat.ids(number, opened=True)
    start = _common(before, prompt)
    stop = _common(chat.ids(number + 1, opened=False), prompt)
    ends = [index for index in range(start, stop) if prompt[index] == end]
    if start < len(before) - 1 or not ends:
        return None
    return start, ends[-1] + 1


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _answer(chat: _Chat, number: int, end: int) -> list[int]:
    """The last answer's ids, as the template writes it behind the prompt, without its end."""
    before = chat.text(number, opened=True)
    said = [message["content"] for message in chat.conversation.messages[: number + 1]]

    def written(texts: list[str]) -> str:
        return chat.text(number + 1, opened=False, contents=[*said[:-1], *texts]).removeprefix(before)

    if chat.text(number + 1, opened=False).startswith(before):
        ids = filled_ids(chat.tokenizer, said[-1:], written)
        if end in ids:
            return ids[: len(ids) - 1 - ids[::-1].index(end)]
    # A template that writes the past in another way than it asks: only the words are sure.
    return filled_ids(chat.tokenizer, said[-1:], "".join)


def _check_tools(chat: _Chat) -> None:
    """Raise if the chat template leaves out what the model is to learn.

    Raises:
        UsageError: tools, or calls of them, are not written.
    """
    conversation = chat.conversation
    count = len(conversation.messages)
    names = [tool["function"]["name"] for tool in conversation.tools]
    calls = [call["function"]["name"] for message in conversation.messages for call in message.get("tool_calls", ())]
    if not names and not calls:
        return
    text = chat.text(count, opened=False)
    silent = replace(conversation, tools=(), messages=tuple(map(_without_calls, conversation.messages)))
    rest = _Chat(chat.tokenizer, silent).text(count, opened=False)
    if any(text.count(name) < rest.count(name) + number for name, number in Counter([*names, *calls]).items()):
        raise UsageError(
            "the base model's chat template does not write tools and calls of them, which are in the data.",
            hint="Name one that does in the recipe: chat_template: default",
        )


def _without_calls(message: Message) -> Message:
    return {key: value for key, value in message.items() if key != "tool_calls"}
