"""What happened inside during one turn, as lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rasa_ft.calm.dialogue.stack import Frame, Stack
    from rasa_ft.calm.dsl import Codec
    from rasa_ft.calm.events import Event
    from rasa_ft.engine.base import Turn

# Lines around a difference that are shown, and the fewest that are worth folding.
_AROUND = 1
_FOLD_FROM = 4
_NOTHING = "(none)"


def describe_turn(turn: Turn, stack: Stack, codec: Codec, last_prompt: str | None) -> Iterator[str]:
    """Prompt (less what ``last_prompt`` had too), answer, commands, events and the stack after them."""
    yield from _prompt(turn, last_prompt)
    parsed = codec.dump(turn.parsed)
    if turn.answer is not None and turn.answer.strip() != parsed:
        yield from _section("answer", turn.answer.splitlines())
    yield from _section("commands", parsed.splitlines())
    if turn.commands != turn.parsed:
        yield from _section("after clean-up", (_command(command, codec) for command in turn.commands))
    yield from _section("events", (line for event in turn.events if (line := _event(event)) is not None))
    yield from _section("stack, top first", (_frame(frame) for frame in reversed(stack.frames)))


def _section(title: str, lines: Iterator[str] | Sequence[str]) -> Iterator[str]:
    yield f"── {title}"
    yield from (f"   {line}" for line in list(lines) or [_NOTHING])


def _prompt(turn: Turn, last: str | None) -> Iterator[str]:
    if turn.prompt is None:
        yield from _section("prompt", ["(no model was asked)"])
        return
    figures = [f"{len(turn.prompt.splitlines())} lines"]
    if turn.prompt_tokens is not None:
        figures.append(f"{turn.prompt_tokens} tokens")
    if turn.latency is not None:
        figures.append(f"answered in {turn.latency:.1f} s")
    yield from _section(f"prompt ({', '.join(figures)})", list(folded(turn.prompt, last)))


def folded(prompt: str, last: str | None) -> Iterator[str]:
    """The lines of ``prompt``; long stretches that stood in ``last`` too become one line that counts them."""
    lines = prompt.splitlines()
    if last is None:
        yield from lines
        return
    for kind, _, _, start, end in SequenceMatcher(None, last.splitlines(), lines, autojunk=False).get_opcodes():
        before = _AROUND if start else 0
        after = _AROUND if end < len(lines) else 0
        hidden = end - start - before - after
        if kind != "equal" or hidden < _FOLD_FROM:
            yield from lines[start:end]
        else:
            yield from lines[start : start + before]
            yield f"⋮ {hidden} lines as before"
            yield from lines[end - after : end]


def _command(command: object, codec: Codec) -> str:
    """As a model writes it, or by name where no model can."""
    return codec.dump([command]) or f"({getattr(command, 'name', command)})"  # type: ignore[list-item]


def _event(event: Event) -> str | None:
    """None for the message itself and for listening."""
    from rasa_ft.calm.events import ActionExecuted, UserUttered
    from rasa_ft.e2e.transcript import describe_event

    if isinstance(event, UserUttered | ActionExecuted):
        return describe_event(event)
    line = describe_event(event) or _words(type(event).__name__)
    step = f"  [{event.flow_id}: {event.step_id}]" if event.step_id and line.startswith(("bot:", "slot:")) else ""
    return f"{line}{step}"


def _words(name: str) -> str:
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()


def _frame(frame: Frame) -> str:
    """``book_ticket at 2_collect (regular)``; patterns with what they are about."""
    known = ("flow_id", "step_id", "frame_id", "kind", "rejections")
    details = [str(frame.kind)] if hasattr(frame, "kind") else []
    for item in fields(frame):
        value = getattr(frame, item.name)
        if item.name not in (*known, *frame.hidden) and value not in ("", None, (), False, {}):
            details.append(f"{item.name}: {value}")
    return f"{frame.flow_id} at {frame.step_id}" + (f" ({', '.join(details)})" if details else "")
