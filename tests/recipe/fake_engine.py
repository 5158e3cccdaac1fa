"""A tiny assistant on the engine's dataclasses: it sells tickets, chats, and is understood by rules.

city and seats are asked for; buttons offer the payload /SetSlots(seats=2).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rasa_ft.calm.commands import CancelFlow, CannotHandle, ChitChat, Command, Knowledge, SetSlot, StartFlow
from rasa_ft.calm.dsl import Codec, codec_for
from rasa_ft.calm.events import (
    BotUttered,
    Button,
    Event,
    FlowCancelled,
    FlowCompleted,
    FlowStarted,
    SlotSet,
    UserUttered,
)
from rasa_ft.calm.flows.model import Flow
from rasa_ft.calm.project.nlu_side import NO_NLU_SIDE, NluSide
from rasa_ft.calm.slots import Slot
from rasa_ft.e2e.cases import Suite
from rasa_ft.engine.base import Engine, Setup, Turn
from rasa_ft.errors import LLMUnavailable
from rasa_ft.llm.client import Completion, Request
from rasa_ft.recipe.conversations import AnnotatedConversation
from rasa_ft.recipe.gathering import gather
from rasa_ft.recipe.labelling.annotate import Skipped

SLOTS = ("city", "seats")


def teach(text: str, requested: str | None) -> tuple[Command, ...]:
    """What the teacher understands."""
    low = text.lower()
    if "weather" in low:
        return (ChitChat(),)
    if "luggage" in low:
        return (Knowledge(),)
    if "stop" in low:
        return (CancelFlow(),)
    if "hmpf" in low:
        return ()
    found: list[Command] = [StartFlow("book")] if re.search(r"ticket|book|travel", low) else []
    city = re.search(r"(?:to|for) ([A-Z]\w+)", text) or (requested == "city" and re.search(r"([A-Z]\w+)\W*$", text))
    if city:
        found.append(SetSlot("city", city[1]))
    seats = re.search(r"\d+", text)
    if seats:
        found.append(SetSlot("seats", seats[0]))
    return tuple(found) or (CannotHandle(),)


@dataclass
class FakeEngine:
    """``cities``: where trains go; elsewhere the bot says so. ``asked``: every message the teacher was asked about."""

    project: Path
    cities: frozenset[str] | None = None
    broken: frozenset[str] = frozenset()
    version: str = "v2"
    asked: list[str] = field(default_factory=list)
    started: list[Setup | None] = field(default_factory=list)

    name = "fake"
    flows: Mapping[str, Flow] = field(default_factory=dict)
    custom_actions: frozenset[str] = frozenset()
    slots: Mapping[str, Slot] = field(
        default_factory=lambda: {"city": Slot("city", "text"), "seats": Slot("seats", "float")}
    )
    free_text_slots: frozenset[str] = frozenset({"city"})
    nlu_side: NluSide = NO_NLU_SIDE

    @property
    def codec(self) -> Codec:
        return codec_for(self.version)

    async def start(self, setup: Setup | None = None) -> FakeConversation:
        self.started.append(setup)
        fixtures = setup.fixtures if setup else ()
        return FakeConversation(self, tuple(SlotSet(slot, value) for slot, value in fixtures))


class FakeConversation:
    def __init__(self, engine: FakeEngine, events: tuple[Event, ...]) -> None:
        self._engine = engine
        self.events = events

    def fork(self) -> FakeConversation:
        return FakeConversation(self._engine, self.events)

    async def understand(self, text: str, *, metadata: Mapping[str, Any] | None = None) -> Turn:
        turn = await self.fork().say(text, metadata=metadata)
        return replace(turn, commands=(), events=())

    async def prompt(self, text: str, template: Path | None = None) -> str:
        name = template.name if template else "teacher"
        lines = [self._line(event) for event in self.events if isinstance(event, UserUttered | BotUttered | SlotSet)]
        return "\n".join([f"[{name}] flows: book", *lines, f"USER: {text}"])

    async def say(
        self, text: str, *, metadata: Mapping[str, Any] | None = None, commands: Sequence[Command] | None = None
    ) -> Turn:
        payload = re.fullmatch(r"/SetSlots\((\w+)=(\w+)\)", text)
        prompt = None if payload else await self.prompt(text)
        flow, requested = self.active_flow, self.requested
        error = None
        parsed: tuple[Command, ...] = ()
        if commands is not None:
            parsed = tuple(commands)
        elif not payload:
            self._engine.asked.append(text)
            error = "the model is down" if text in self._engine.broken else None
            parsed = () if error else teach(text, requested)
        final = (SetSlot(payload[1], payload[2]),) if payload else parsed
        before = len(self.events)
        self.events = (*self.events, UserUttered(text, commands=final, metadata=metadata or {}))
        for command in final:
            self._run(command)
        self._ask()
        return Turn(
            text=text,
            prompt=prompt,
            answer=None,
            parsed=parsed,
            commands=final,
            events=self.events[before:],
            active_flow=flow,
            requested_slot=requested,
            error=error,
            metadata=metadata or {},
        )

    @property
    def active_flow(self) -> str | None:
        changes = [event for event in self.events if isinstance(event, FlowStarted | FlowCompleted | FlowCancelled)]
        return changes[-1].flow_id if changes and isinstance(changes[-1], FlowStarted) else None

    @property
    def requested(self) -> str | None:
        return next((slot for slot in SLOTS if slot not in self._slots()), None) if self.active_flow else None

    def _slots(self) -> dict[str, Any]:
        return {event.slot: event.value for event in self.events if isinstance(event, SlotSet) and event.value}

    def _run(self, command: Command) -> None:
        match command:
            case StartFlow() if self.active_flow is None:
                self._add(FlowStarted(flow_id=command.flow))
            case SetSlot():
                self._add(SlotSet(command.slot, command.value))
                cities = self._engine.cities
                if command.slot == "city" and cities is not None and command.value not in cities:
                    self._add(BotUttered("No trains go there.", utter_action="utter_no_trains"))
            case CancelFlow() if self.active_flow:
                self._add(FlowCancelled(flow_id=self.active_flow))
                self._add(BotUttered("Cancelled.", utter_action="utter_cancelled"))
            case ChitChat():
                self._add(BotUttered("Lovely.", utter_action="utter_chat"))
            case Knowledge():
                self._add(BotUttered("Two bags.", utter_action="utter_luggage"))
            case CannotHandle():
                self._add(BotUttered("Pardon?", utter_action="utter_pardon"))

    def _ask(self) -> None:
        if self.active_flow and self.requested == "city":
            self._add(BotUttered("Where to?", utter_action="utter_ask_city"))
        elif self.active_flow and self.requested == "seats":
            buttons = (Button("two", "/SetSlots(seats=2)"), Button("five", "5"))
            self._add(BotUttered("How many seats?", buttons=buttons, utter_action="utter_ask_seats"))
        elif self.active_flow:
            self._add(BotUttered(f"Off to {self._slots()['city']}!", utter_action="utter_done"))
            self._add(FlowCompleted(flow_id="book"))

    def _add(self, event: Event) -> None:
        self.events = (*self.events, event)

    @staticmethod
    def _line(event: Event) -> str:
        if isinstance(event, UserUttered):
            return f"USER: {event.text}"
        return f"AI: {event.text}" if isinstance(event, BotUttered) else f"{event.slot}={event.value}"  # type: ignore[attr-defined]


@dataclass
class FakeRephraser:
    """Answers from ``known``: rephrasings by message; raw texts are sent as they are, an exception is raised."""

    known: Mapping[str, Any] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        answer = self.known.get(request.hints["user_message"], [])
        if request.hints.get("round"):
            answer = []
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, tuple):
            answer = answer[min(len(request.messages) // 2, len(answer) - 1)]
        return Completion(answer if isinstance(answer, str) else json.dumps(answer), "fake", 0.0)


DOWN = LLMUnavailable("the rephraser is down")

TESTS = """
fixtures:
  - london: [{home: London}]
metadata:
  - phone: {channel: phone}
test_cases:
  - test_case: happy
    fixtures: [london]
    metadata: phone
    steps:
      - user: I need a ticket
      - utter: utter_ask_city
      - user: to Rome
      - slot_was_set: [{city: Rome}]
      - user: /SetSlots(seats=2)
      - utter: utter_done
  - test_case: all at once
    steps:
      - user: book 3 seats to Paris
      - utter: utter_done
      - user: what a lovely weather
      - utter: utter_chat
      - user: and this is never checked
  - test_case: changes the mind
    steps:
      - user: I want to travel
      - utter: utter_ask_city
      - user: how much luggage may I take
      - utter: utter_luggage
      - user: please stop
      - utter: utter_cancelled
  - test_case: by number
    steps:
      - user: can you book me something
      - utter: utter_ask_city
      - user: Oslo
      - utter: utter_ask_seats
      - user: "5"
      - utter: utter_done
  - test_case: wrong
    steps:
      - user: a ticket to Bonn
      - utter: utter_done
"""

REPHRASINGS = {
    "I need a ticket": ["one ticket please", "ticket, please!", "I need a ticket.", "weather forecast"],
    "to Rome": ["I am going to Rome", "it should go to Rome", "to Genoa"],
    "book 3 seats to Paris": ["3 tickets to Paris", "I'd like to book three seats to Paris"],
    "what a lovely weather": ["nice weather today", "the weather is fine"],
    "I want to travel": ["time to travel", "let me travel"],
    "how much luggage may I take": ["luggage rules?"],
    "please stop": ["stop it", "I want you to stop"],
    "can you book me something": ["book something for me", "could I book"],
    "Oslo": ["it is Oslo", "Oslo would be good to Oslo"],
}


@dataclass(frozen=True)
class Annotation:
    """All tests, played on the teacher."""

    conversations: tuple[AnnotatedConversation, ...]
    skipped: tuple[Skipped, ...]


def annotated(engine: Engine, suite: Suite, concurrency: int = 4) -> Annotation:
    found = asyncio.run(gather(engine, suite, None, concurrency=concurrency))
    return Annotation(tuple(done.conversation for done in found.conversations), found.skipped)
