"""Flow retrieval: of many flows, those that a message is likely to be about go into the prompt.

Order, as in CALM: flows that are always included, flows started a short while ago, then the nearest in meaning. With
no more flows than a prompt may hold all are offered, in the order of their files, and nothing is embedded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from rasa_ft.calm.dialogue.runtime import Runtime
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.events import BotUttered, FlowStarted, UserUttered
from rasa_ft.calm.flows.conditions import holds, references
from rasa_ft.calm.flows.graph import collect_steps
from rasa_ft.calm.flows.model import Flow
from rasa_ft.calm.project.config import FlowRetrieval
from rasa_ft.calm.project.domain import Domain
from rasa_ft.llm.client import aclose
from rasa_ft.llm.embeddings import Embedder
from rasa_ft.understanding.rendering import allowed_values, one_line, transcript
from rasa_ft.understanding.vectors import Once, VectorIndex

# Messages of user and bot within which a started flow stays offered.
_RECENT_MESSAGES = 20


class Retriever(Protocol):
    """Chooses the flows that a prompt offers."""

    async def offered(self, text: str, tracker: Tracker, runtime: Runtime) -> tuple[str, ...] | None:
        """Flow ids in the order of the prompt, guards not yet looked at; None: all flows.

        Raises:
            LLMError: the embedding model failed.
        """


@dataclass(frozen=True)
class _Index:
    flow_ids: tuple[str, ...]
    vectors: VectorIndex


class FlowRetriever:
    """Retrieval over the flows of one assistant, which are embedded when a message first needs it."""

    def __init__(self, settings: FlowRetrieval, embedder: Embedder, flows: Mapping[str, Flow], domain: Domain) -> None:
        self._settings = settings
        self._embedder = embedder
        self._documents = flow_documents(flows, domain, with_slots=settings.should_embed_slots)
        self._always = tuple(flow.id for flow in flows.values() if flow.always_include_in_prompt)
        self._index = Once(self._embedded)

    @property
    def is_needed(self) -> bool:
        """Whether there are more flows than a prompt may hold."""
        return len(self._documents) > self._settings.num_flows

    async def prepare(self) -> int:
        """Embed the flows now, if messages are going to need it; how many there are in the index.

        Raises:
            LLMError: the embedding model failed.
        """
        return len((await self._index.get()).flow_ids) if self.is_needed else 0

    async def aclose(self) -> None:
        await aclose(self._embedder)

    async def offered(self, text: str, tracker: Tracker, runtime: Runtime) -> tuple[str, ...] | None:
        """See `Retriever.offered`."""
        if not self.is_needed:
            return None
        index = await self._index.get()
        query = _query(text, tracker, self._settings.turns_to_embed)
        (vector,) = await self._embedder.embed([query])
        hits = index.vectors.nearest(vector, self._settings.num_flows)
        nearest = (index.flow_ids[row] for row, _ in hits)
        return tuple(dict.fromkeys((*self._always, *recently_started(tracker, runtime), *nearest)))

    async def _embedded(self) -> _Index:
        vectors = await self._embedder.embed(list(self._documents.values()))
        return _Index(tuple(self._documents), VectorIndex.of(vectors))


def flow_documents(flows: Mapping[str, Flow], domain: Domain, *, with_slots: bool = True) -> dict[str, str]:
    """What stands for each flow when messages are compared with it: user flows that a message can start."""
    return {
        flow.id: "\n".join(_document(flow, flows, domain, with_slots))
        for flow in flows.values()
        if not flow.is_pattern and not is_never_startable(flow)
    }


def is_never_startable(flow: Flow) -> bool:
    """Whether the flow's guard is false whatever the slots hold."""
    return flow.guard is not None and not references(flow.guard) and not holds(flow.guard, {})


def _document(flow: Flow, flows: Mapping[str, Flow], domain: Domain, with_slots: bool) -> Iterator[str]:
    yield flow.name
    yield flow.description
    if not with_slots:
        return
    for step in collect_steps(flow, flows, resolve_calls=False):
        slot = domain.slots.get(step.slot)
        if slot is not None:
            values = allowed_values(slot)
            described = f": {step.description}" if step.description else ""
            yield f"{step.slot}{described}" + (f" {values}" if values else "")


def recently_started(tracker: Tracker, runtime: Runtime) -> tuple[str, ...]:
    """User flows started within the last messages of this session, newest first."""
    return tuple(dict.fromkeys(flow_id for flow_id in _started(tracker.session_events) if _is_user(flow_id, runtime)))


def _started(events: Iterable[object]) -> Iterator[str]:
    messages = 0
    for event in reversed(tuple(events)):
        messages += isinstance(event, UserUttered | BotUttered)
        if messages > _RECENT_MESSAGES:
            return
        if isinstance(event, FlowStarted) and event.flow_id is not None:
            yield event.flow_id


def _is_user(flow_id: str, runtime: Runtime) -> bool:
    flow = runtime.flows.get(flow_id)
    return flow is not None and not flow.is_pattern


def _query(text: str, tracker: Tracker, turns: int) -> str:
    return text if turns <= 1 else transcript(tracker, one_line(text), lines=turns)
