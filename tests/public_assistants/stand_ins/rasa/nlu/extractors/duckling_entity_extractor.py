"""Stand-in; see the package."""

from __future__ import annotations

from typing import Any

from dateutil.parser import ParserError, parse

from rasa.shared.nlu.training_data.message import Message


class DucklingEntityExtractor:
    """Finds a date in texts that are nothing else, as python-dateutil reads them."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        return {}

    def process(self, messages: list[Message]) -> list[Message]:
        for message in messages:
            message.data["entities"] = _dates(message.data["text"])
        return messages


def _dates(text: str) -> list[dict[str, Any]]:
    try:
        return [{"entity": "time", "value": parse(text).isoformat()}]
    except (ParserError, OverflowError):
        return []
