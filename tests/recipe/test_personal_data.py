from __future__ import annotations

import socket
import sys
from typing import Any

import pytest

from rasa_ft.errors import MissingRequirement
from rasa_ft.recipe.scrubbing.personal_data import Finding, PresidioFinder, load_finder


def test_what_is_missing_can_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(MissingRequirement, match=r"pip install 'rasa_ft\[pii\]'"):
        load_finder()


def test_of_overlapping_data_the_longest_counts() -> None:
    class Recognizer:
        supported_entities = ("PHONE_NUMBER", "IBAN_CODE")

        def analyze(self, text: str, entities: Any, artifacts: Any) -> list[Any]:
            return [self.found("PHONE_NUMBER", 5, 9), self.found("IBAN_CODE", 0, 9), self.found("PHONE_NUMBER", 10, 14)]

        @staticmethod
        def found(kind: str, begin: int, stop: int) -> Any:
            class Result:
                entity_type, start, end = kind, begin, stop

            return Result

    found = PresidioFinder("x", [Recognizer()])("012345678 9876")
    assert list(found) == [Finding("iban", "012345678"), Finding("phone", "9876")]


def test_the_installed_patterns_find_what_they_should_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("presidio_analyzer", reason="needs the extra pii")

    def forbidden(*arguments: Any, **options: Any) -> None:
        raise AssertionError("the network is used")

    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    monkeypatch.setattr(socket.socket, "connect", forbidden)
    finder = load_finder()
    assert finder.name.startswith("presidio-analyzer 2.")
    text = "I am at bob@intra.local or +49 151 23456789, IBAN DE89 3704 0044 0532 0130 00, card 4539 1488 0343 6467"
    assert [(found.kind, found.text) for found in finder(text) if found.kind != "name"] == [
        ("email", "bob@intra.local"),
        ("phone", "+49 151 23456789"),
        ("iban", "DE89 3704 0044 0532 0130 00"),
        ("card", "4539 1488 0343 6467"),
    ]
    assert not finder("two tickets to Rome on 2025-01-15 at 10:00")


def test_installed_models_find_names(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("presidio_analyzer", reason="needs the extra pii")
    import spacy

    model = spacy.blank("en")
    model.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": "Anna Becker"}])
    monkeypatch.setattr(spacy.util, "get_installed_models", lambda: ["some_model"])
    monkeypatch.setattr(spacy, "load", lambda name: model)
    assert list(load_finder()("it is Anna Becker")) == [Finding("name", "Anna Becker")]
