"""Asking a language model: one question in, one answer out, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Request:
    """A chat request.

    ``hints`` describe the question in data (``user_message``, ``active_flow``, ``requested_slot``, ``purpose``). They
    are never sent to a server; the recorded model looks its answers up by them.
    """

    messages: tuple[Mapping[str, str], ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    hints: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_prompt(cls, prompt: str, **hints: Any) -> Request:
        """One user message, as CALM's command generators send it."""
        return cls(messages=({"role": "user", "content": prompt},), hints=hints)


@dataclass(frozen=True)
class Completion:
    """``latency`` in seconds of the call as first paid for; ``from_store`` if it was not asked again."""

    text: str
    model: str
    latency: float
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    from_store: bool = False


@dataclass(frozen=True)
class Vectors:
    """Embeddings of some texts, in their order."""

    values: list[list[float]]
    prompt_tokens: int | None = None


async def aclose(llm: object) -> None:
    """Close the connections of ``llm``, if it has any, in the event loop that it was asked in.

    Connections left open are found by the garbage collector when their loop is gone, which ends in a traceback.
    """
    close = getattr(llm, "aclose", None)
    if close is not None:
        await close()


class LLM(Protocol):
    """Anything that answers requests: a model group from endpoints.yml, a recording, a test double."""

    async def complete(self, request: Request) -> Completion:
        """Ask once.

        Raises:
            LLMError: no usable answer, after the retries that make sense for that kind of failure.
        """
