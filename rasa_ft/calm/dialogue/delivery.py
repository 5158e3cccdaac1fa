"""What a channel sends for one message of the bot: the event stays whole, the user gets one piece after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rasa_ft.calm.events import BotUttered


def channel_messages(message: BotUttered) -> tuple[Mapping[str, Any], ...]:
    """The messages of the collecting and REST channels, in their order.

    Each is ``{text, buttons or quick_replies}``, ``{custom}``, ``{image}``, ``{attachment}`` or ``{elements}``. A plain
    text is cut at its blank lines; one with buttons or quick replies stays whole.
    """
    return tuple(_pieces(message))


def _pieces(message: BotUttered) -> Iterator[Mapping[str, Any]]:
    if message.quick_replies:
        yield {"text": message.text or "", "quick_replies": list(message.quick_replies)}
    elif message.buttons:
        buttons = [{"title": button.title, "payload": button.payload} for button in message.buttons]
        yield {"text": message.text or "", "buttons": buttons}
    elif message.text:
        yield from ({"text": part} for part in message.text.strip().split("\n\n"))
    for key in ("custom", "image", "attachment", "elements"):
        if getattr(message, key):
            yield {key: getattr(message, key)}
