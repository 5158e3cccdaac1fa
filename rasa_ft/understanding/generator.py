"""The command generator: a message in, the commands of a model out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from rasa_ft.calm.commands import Command, Error
from rasa_ft.calm.config import Generator
from rasa_ft.calm.dsl import Codec, codec_for
from rasa_ft.calm.messages import read_message
from rasa_ft.calm.runtime import Runtime
from rasa_ft.calm.tracker import Tracker
from rasa_ft.errors import LLMError
from rasa_ft.llm.client import LLM, Completion, Request
from rasa_ft.understanding.postprocess import fitting, startable_only
from rasa_ft.understanding.rendering import TEACHER, current_user_flow, prompt_variables, render_prompt


@dataclass(frozen=True)
class Understanding:
    """What a message was understood as.

    ``prompt`` None: no model was needed. ``parsed`` is what the answer said, ``commands`` what of it fits the
    assistant. ``error`` tells why the model gave no answer; ``commands`` then is one `Error`.
    """

    commands: tuple[Command, ...]
    prompt: str | None = None
    answer: str | None = None
    parsed: tuple[Command, ...] = ()
    error: str | None = None
    completion: Completion | None = None


@dataclass(frozen=True)
class CommandGenerator:
    """Asks ``llm`` with the prompt that the assistant's configuration names, or our own if it names none."""

    config: Generator
    llm: LLM
    clock: Callable[[ZoneInfo], datetime] = datetime.now

    @property
    def codec(self) -> Codec:
        return codec_for(self.config.dsl_version)

    @property
    def template(self) -> Path:
        return self.config.prompt_template or TEACHER

    def prompt(self, text: str, tracker: Tracker, runtime: Runtime, template: Path | None = None) -> str:
        """The prompt that ``text`` leads to now.

        Raises:
            DataError: the template cannot be rendered.
        """
        now = self.clock(ZoneInfo(self.config.timezone)) if self.config.include_date_time else None
        return render_prompt(template or self.template, prompt_variables(text, tracker, runtime, now))

    async def understand(
        self, text: str, tracker: Tracker, runtime: Runtime, answer: Sequence[Command] | None = None
    ) -> Understanding:
        """Read ``text`` as said now. With ``answer`` no model is asked: these commands stand in for what it says."""
        reading = read_message(text, tracker, runtime, self.config.max_characters)
        if reading.commands is not None:
            return Understanding(startable_only(reading.commands, tracker, runtime))
        prompt = self.prompt(reading.text, tracker, runtime)
        if answer is not None:
            return Understanding(fitting(answer, tracker, runtime), prompt=prompt, parsed=tuple(answer))
        try:
            completion = await self.llm.complete(_request(prompt, reading.text, tracker))
        except LLMError as error:
            return Understanding((Error(),), prompt=prompt, error=str(error))
        parsed = self.codec.parse(completion.text)
        commands = fitting(parsed, tracker, runtime)
        return Understanding(commands, prompt, completion.text, parsed, completion=completion)


def _request(prompt: str, text: str, tracker: Tracker) -> Request:
    return Request.of_prompt(
        prompt,
        purpose="commands",
        user_message=text,
        active_flow=current_user_flow(tracker),
        requested_slot=tracker.stack.requested_slot,
    )
