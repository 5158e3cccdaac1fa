"""The commands that a model may give, as data.

Names and JSON forms follow the CALM tracker format (`{"command": "start flow", "flow": …}`); the surface syntaxes that
models write are in `rasa_ft.calm.dsl`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class Command:
    """Base of all commands; ``name`` is the value of ``command`` in the JSON form."""

    name: ClassVar[str]


@dataclass(frozen=True)
class SetSlot(Command):
    name: ClassVar[str] = "set slot"
    slot: str
    value: Any
    # Who filled it: "LLM", "CommandPayloadReader" (buttons), …
    extractor: str = field(default="LLM", compare=False)


@dataclass(frozen=True)
class StartFlow(Command):
    name: ClassVar[str] = "start flow"
    flow: str


@dataclass(frozen=True)
class CancelFlow(Command):
    name: ClassVar[str] = "cancel flow"


@dataclass(frozen=True)
class Clarify(Command):
    name: ClassVar[str] = "clarify"
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChitChat(Command):
    name: ClassVar[str] = "chitchat"


@dataclass(frozen=True)
class Knowledge(Command):
    name: ClassVar[str] = "knowledge"


@dataclass(frozen=True)
class SkipQuestion(Command):
    name: ClassVar[str] = "skip question"


@dataclass(frozen=True)
class Repeat(Command):
    name: ClassVar[str] = "repeat"


@dataclass(frozen=True)
class HumanHandoff(Command):
    name: ClassVar[str] = "human handoff"


@dataclass(frozen=True)
class CannotHandle(Command):
    name: ClassVar[str] = "cannot handle"
    reason: str = "cannot_handle_default"


# The rest is made by the runtime itself and never written by a model.


@dataclass(frozen=True)
class CorrectedSlot:
    slot: str
    value: Any
    extractor: str = "LLM"


@dataclass(frozen=True)
class CorrectSlots(Command):
    name: ClassVar[str] = "correct slot"
    corrected_slots: tuple[CorrectedSlot, ...] = ()


@dataclass(frozen=True)
class Error(Command):
    name: ClassVar[str] = "error"
    error_type: str = "rasa_internal_error_default"
    info: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class HandleCodeChange(Command):
    name: ClassVar[str] = "handle code change"


@dataclass(frozen=True)
class SessionStart(Command):
    name: ClassVar[str] = "session start"


@dataclass(frozen=True)
class SessionEnd(Command):
    name: ClassVar[str] = "session end"


@dataclass(frozen=True)
class Restart(Command):
    name: ClassVar[str] = "restart"


@dataclass(frozen=True)
class UserSilence(Command):
    name: ClassVar[str] = "user silence"


@dataclass(frozen=True)
class Noop(Command):
    name: ClassVar[str] = "noop"


@dataclass(frozen=True)
class ChangeFlow(Command):
    name: ClassVar[str] = "change_flow"
