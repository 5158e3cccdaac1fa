"""The dialogue stack: which flows are under way and where each of them stands; the last frame is the top one.

Frames and stacks are immutable: every change gives a new stack that shares its frames with the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from rasa_ft.calm.copying import replace
from rasa_ft.calm.flows.model import END, NEXT_PREFIX, START, Rejection

AT_END = f"{NEXT_PREFIX}{END}"

CANCEL_FLOW = "pattern_cancel_flow"
CANNOT_HANDLE = "pattern_cannot_handle"
CHITCHAT = "pattern_chitchat"
CLARIFICATION = "pattern_clarification"
CODE_CHANGE = "pattern_code_change"
COLLECT_INFORMATION = "pattern_collect_information"
COMPLETED = "pattern_completed"
CONTINUE_INTERRUPTED = "pattern_continue_interrupted"
CORRECTION = "pattern_correction"
HUMAN_HANDOFF = "pattern_human_handoff"
INTERNAL_ERROR = "pattern_internal_error"
REPEAT = "pattern_repeat_bot_messages"
RESTART = "pattern_restart"
SEARCH = "pattern_search"
SESSION_END = "pattern_session_end"
SESSION_START = "pattern_session_start"
SKIP_QUESTION = "pattern_skip_question"
USER_SILENCE = "pattern_user_silence"
VALIDATE_SLOT = "pattern_validate_slot"


class FrameKind(StrEnum):
    """How a user flow came onto the stack."""

    REGULAR = "regular"
    INTERRUPT = "interrupt"
    LINK = "link"
    CALL = "call"


@dataclass(frozen=True)
class Frame:
    """A flow under way at ``step_id``; ``NEXT:x`` stands just before step x. The stack gives ``frame_id``."""

    flow_id: str
    step_id: str = START
    frame_id: str = ""

    hidden: ClassVar[frozenset[str]] = frozenset()

    @property
    def type(self) -> str:
        """``flow`` for user flows, else the pattern's id."""
        return self.flow_id

    @property
    def is_ending(self) -> bool:
        return self.step_id in (END, AT_END)

    def document(self) -> dict[str, Any]:
        """The frame as templates and conditions see it (``context.…``)."""
        shown = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in self.hidden}
        return {"type": self.type, **{name: _plain(value) for name, value in shown.items()}}


@dataclass(frozen=True)
class UserFrame(Frame):
    """A flow of the assistant, or a pattern that was linked to; the parent is the step that called or linked it."""

    kind: FrameKind = FrameKind.REGULAR
    parent_flow_id: str | None = None
    parent_step_id: str | None = None

    hidden = frozenset({"kind", "parent_flow_id", "parent_step_id"})

    @property
    def type(self) -> str:
        return "flow"

    @property
    def is_root(self) -> bool:
        """Whether the user asked for this flow, rather than another flow calling or linking it."""
        return self.kind in (FrameKind.REGULAR, FrameKind.INTERRUPT)

    def document(self) -> dict[str, Any]:
        return {**super().document(), "frame_type": str(self.kind)}


@dataclass(frozen=True)
class PatternFrame(Frame):
    """A pattern without fields of its own."""


@dataclass(frozen=True)
class CollectFrame(PatternFrame):
    """The question for one slot, above the flow that asks it."""

    flow_id: str = COLLECT_INFORMATION
    collect: str = ""
    utter: str = ""
    collect_action: str = ""
    rejections: tuple[Rejection, ...] = ()


@dataclass(frozen=True)
class ValidateSlotFrame(PatternFrame):
    flow_id: str = VALIDATE_SLOT
    validate: str = ""
    refill_utter: str = ""
    refill_action: str = ""
    rejections: tuple[Rejection, ...] = ()


@dataclass(frozen=True)
class CancelFrame(PatternFrame):
    flow_id: str = CANCEL_FLOW
    canceled_name: str = ""
    canceled_frames: tuple[str, ...] = ()


@dataclass(frozen=True)
class CannotHandleFrame(PatternFrame):
    flow_id: str = CANNOT_HANDLE
    reason: str = ""


@dataclass(frozen=True)
class ClarificationFrame(PatternFrame):
    flow_id: str = CLARIFICATION
    names: tuple[str, ...] = ()
    clarification_ids: tuple[str, ...] = ()
    clarification_options: str = ""


@dataclass(frozen=True)
class CompletedFrame(PatternFrame):
    flow_id: str = COMPLETED
    previous_flow_name: str = ""


@dataclass(frozen=True)
class ContinueInterruptedFrame(PatternFrame):
    """``previous_flow_name``: the flow that goes on by itself when the pattern asks nothing, as older ones do."""

    flow_id: str = CONTINUE_INTERRUPTED
    interrupted_flow_names: tuple[str, ...] = ()
    interrupted_flow_ids: tuple[str, ...] = ()
    interrupted_flow_options: str = ""
    multiple_flows_interrupted: bool = False
    previous_flow_name: str = ""


@dataclass(frozen=True)
class CorrectionFrame(PatternFrame):
    """``reset_frames`` is the active flow as it stood at the step to go back to; empty: nothing to go back to."""

    flow_id: str = CORRECTION
    corrected_slots: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    new_slot_values: tuple[Any, ...] = ()
    is_reset_only: bool = False
    reset_flow_id: str | None = None
    reset_step_id: str | None = None
    reset_frames: tuple[UserFrame, ...] = ()

    hidden = frozenset({"reset_frames"})


@dataclass(frozen=True)
class InternalErrorFrame(PatternFrame):
    flow_id: str = INTERNAL_ERROR
    error_type: str = "rasa_internal_error_default"
    info: Mapping[str, Any] = field(default_factory=dict)


AnyFrame = TypeVar("AnyFrame", bound=Frame)


@dataclass(frozen=True)
class Stack:
    """``created`` counts all frames ever pushed, so that ids are unique in a conversation and equal in a replay."""

    frames: tuple[Frame, ...] = ()
    created: int = 0

    def __bool__(self) -> bool:
        return bool(self.frames)

    @property
    def top(self) -> Frame | None:
        return self.frames[-1] if self.frames else None

    def push(self, frame: Frame) -> Stack:
        """With ``frame`` on top."""
        return self.insert(len(self.frames), frame)

    def push_below(self, above: Frame, frame: Frame) -> Stack:
        """With ``frame`` directly below ``above``."""
        return self.insert(self.index(above), frame)

    def insert(self, index: int, frame: Frame) -> Stack:
        named = replace(frame, frame_id=f"{self.created + 1:08d}")
        return Stack((*self.frames[:index], named, *self.frames[index:]), self.created + 1)

    def with_frames(self, frames: Iterable[Frame]) -> Stack:
        """Other frames in place of all; they keep their ids."""
        return replace(self, frames=tuple(frames))

    def without(self, frames: Iterable[Frame]) -> Stack:
        gone = {frame.frame_id for frame in frames}
        return self.with_frames(frame for frame in self.frames if frame.frame_id not in gone)

    def pop(self) -> Stack:
        return self.with_frames(self.frames[:-1])

    def update(self, frame: Frame) -> Stack:
        """With ``frame`` in place of the one that has its id."""
        return self.with_frames(frame if old.frame_id == frame.frame_id else old for old in self.frames)

    def end(self, frame_ids: Iterable[str]) -> Stack:
        """With these frames set to their end, where the flow loop takes them off."""
        ending = set(frame_ids)
        return self.with_frames(
            replace(frame, step_id=AT_END) if frame.frame_id in ending else frame for frame in self.frames
        )

    def index(self, frame: Frame) -> int:
        return next(index for index, other in enumerate(self.frames) if other.frame_id == frame.frame_id)

    def from_frame(self, frame: Frame) -> tuple[Frame, ...]:
        """``frame`` and all above it."""
        return self.frames[self.index(frame) :]

    def topmost(self, kind: type[AnyFrame], where: Callable[[AnyFrame], bool] = lambda frame: True) -> AnyFrame | None:
        return next((frame for frame in reversed(self.frames) if isinstance(frame, kind) and where(frame)), None)

    @property
    def user_frames(self) -> tuple[UserFrame, ...]:
        return tuple(frame for frame in self.frames if isinstance(frame, UserFrame))

    @property
    def top_user_frame(self) -> UserFrame | None:
        """The flow that runs, called and linked ones included."""
        return self.topmost(UserFrame)

    @property
    def top_caller_frame(self) -> UserFrame | None:
        """The flow that runs, or the one that called it, directly or not."""
        return self.topmost(UserFrame, lambda frame: frame.kind is not FrameKind.CALL)

    @property
    def top_root_frame(self) -> UserFrame | None:
        """The topmost flow that was neither called nor linked."""
        return self.topmost(UserFrame, lambda frame: frame.is_root)

    @property
    def asking_frame(self) -> CollectFrame | ValidateSlotFrame | None:
        """The frame on top if it asks for a slot."""
        return self.top if isinstance(self.top, CollectFrame | ValidateSlotFrame) else None

    @property
    def top_pattern(self) -> Frame | None:
        """The top frame if it is a pattern, the question it may be asking left out of account."""
        frame = next((frame for frame in reversed(self.frames) if not isinstance(frame, CollectFrame)), None)
        return frame if isinstance(frame, PatternFrame) else None

    @property
    def requested_slot(self) -> str | None:
        """The slot that is being asked for."""
        frame = self.asking_frame
        if isinstance(frame, CollectFrame):
            return frame.collect
        return frame.validate if frame else None

    def context(self) -> Mapping[str, Any]:
        """The top frame as a document; a question's is that of the flow that asks it, with the question's fields."""
        return self._context

    @cached_property
    def _context(self) -> Mapping[str, Any]:
        return MappingProxyType(self._context_document())

    def _context_document(self) -> dict[str, Any]:
        if not self.frames:
            return {}
        document = self.frames[-1].document()
        if not isinstance(self.top, CollectFrame) or len(self.frames) < 2:
            return document
        own = {name: document[name] for name in ("collect", "utter", "collect_action", "rejections")}
        return {**document, **self.frames[-2].document(), **own}

    def group(self, flow_id: str) -> tuple[Frame, ...]:
        """The frames that belong to a flow: from its own, or that of the flow that called it, to the next root flow.

        Empty if the flow is not on the stack.
        """
        own = self.topmost(UserFrame, lambda frame: frame.flow_id == flow_id)
        if own is None:
            return ()
        start = end = self.index(own)
        while start and _is_called(self.frames[start]):
            start -= 1
        while end + 1 < len(self.frames) and not _is_root(self.frames[end + 1]):
            end += 1
        return self.frames[start : end + 1]


def _is_root(frame: Frame) -> bool:
    return isinstance(frame, UserFrame) and frame.is_root


def _is_called(frame: Frame) -> bool:
    """Whether the flow that the frame belongs to lies below it."""
    return not isinstance(frame, UserFrame) or frame.kind is FrameKind.CALL


def _plain(value: Any) -> Any:
    """Lists and mappings, as templates and custom actions expect them."""
    if isinstance(value, Rejection):
        return {"if": value.condition, "utter": value.utter}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
