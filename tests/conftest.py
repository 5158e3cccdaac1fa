"""Fixtures for talking to the small test assistant without a model."""

from __future__ import annotations

from collections.abc import Callable

import profiles
import pytest
from desk_assistant import DESK, SilentLLM, Talk
from fake_openai import server

from rasa_ft.engine.base import Setup
from rasa_ft.engine.embedded import EmbeddedEngine, load_engine

__all__ = ["profiles", "server"]


@pytest.fixture(scope="session")
def desk_engine() -> EmbeddedEngine:
    return load_engine(DESK, llm=SilentLLM())


@pytest.fixture
def talk(desk_engine: EmbeddedEngine) -> Talk:
    return Talk(desk_engine)


@pytest.fixture
def new_talk(desk_engine: EmbeddedEngine) -> Callable[..., Talk]:
    return lambda **setup: Talk(desk_engine, Setup(**setup))
