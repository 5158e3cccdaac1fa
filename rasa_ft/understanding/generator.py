"""The command generator: a message in, the commands of a model out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rasa_ft.calm.commands import Command, Error
from rasa_ft.calm.dialogue.messages import read_message
from rasa_ft.calm.dialogue.runtime import Runtime
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.dsl import Codec, codec_for
from rasa_ft.calm.grammar import command_grammar
from rasa_ft.calm.project.config import Generator
from rasa_ft.errors import LLMError
from rasa_ft.llm.client import LLM, Completion, Request
from rasa_ft.understanding.postprocess import fitting, startable_only
from rasa_ft.understanding.rendering import TEACHER, current_user_flow, prompt_variables, render_prompt
from rasa_ft.understanding.retrieval import Retriever


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
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CommandGenerator:
    """Asks ``llm`` with the prompt that the assistant's configuration names, or our own if it names none.

    ``grammar``: every question carries the grammar of its possible answers, for servers that decode by it.
    ``retriever`` chooses the flows of a prompt; None: all are offered. ``keeps_punctuation``: see `codec_for`.
    """

    config: Generator
    llm: LLM
    grammar: bool = False
    retriever: Retriever | None = None
    keeps_punctuation: bool = False
    clock: Callable[[ZoneInfo], datetime] = datetime.now

    @property
    def codec(self) -> Codec:
        return codec_for(self.config.dsl_version, keeps_punctuation=self.keeps_punctuation)

    @property
    def template(self) -> Path:
        return self.config.prompt_template or TEACHER

    async def prompt(self, text: str, tracker: Tracker, runtime: Runtime, template: Path | None = None) -> str:
        """The prompt that ``text`` leads to now.

        Raises:
            DataError: the template cannot be rendered.
            LLMError: the model that flow retrieval embeds with failed.
        """
        retrieved = await self._retrieved(text, tracker, runtime)
        return self._rendered(text, tracker, runtime, retrieved, template)

    async def understand(
        self, text: str, tracker: Tracker, runtime: Runtime, answer: Sequence[Command] | None = None
    ) -> Understanding:
        """Read ``text`` as said now. With ``answer`` no model is asked: these commands stand in for what it says.

        Raises:
            BudgetExceeded: the model may not be asked any more; other failures are `Understanding.error`.
        """
        reading = read_message(text, tracker, runtime, self.config.max_characters)
        if reading.commands is not None:
            return Understanding(startable_only(reading.commands, tracker, runtime))
        try:
            retrieved = await self._retrieved(reading.text, tracker, runtime)
        except LLMError as error:
            return Understanding((Error(),), error=f"flow retrieval failed: {error}")
        prompt = self._rendered(reading.text, tracker, runtime, retrieved)
        parameters = self._parameters(tracker, runtime, retrieved)
        if answer is not None:
            commands = fitting(answer, tracker, runtime)
            return Understanding(commands, prompt=prompt, parsed=tuple(answer), parameters=parameters)
        try:
            completion = await self.llm.complete(_request(prompt, reading.text, tracker, parameters))
        except LLMError as error:
            return Understanding((Error(),), prompt=prompt, error=str(error), parameters=parameters)
        parsed = self.codec.parse(completion.text)
        commands = fitting(parsed, tracker, runtime)
        return Understanding(commands, prompt, completion.text, parsed, completion=completion, parameters=parameters)

    async def _retrieved(self, text: str, tracker: Tracker, runtime: Runtime) -> tuple[str, ...] | None:
        return await self.retriever.offered(text, tracker, runtime) if self.retriever else None

    def _rendered(
        self,
        text: str,
        tracker: Tracker,
        runtime: Runtime,
        retrieved: Sequence[str] | None,
        template: Path | None = None,
    ) -> str:
        now = self.clock(ZoneInfo(self.config.timezone)) if self.config.include_date_time else None
        return render_prompt(template or self.template, prompt_variables(text, tracker, runtime, now, retrieved))

    def _parameters(self, tracker: Tracker, runtime: Runtime, retrieved: Sequence[str] | None) -> Mapping[str, Any]:
        """vLLM's request parameter for decoding by a grammar."""
        if not self.grammar:
            return {}
        grammar = command_grammar(tracker, runtime, self.config.dsl_version, retrieved)
        return {"structured_outputs": {"grammar": grammar}}


def _request(prompt: str, text: str, tracker: Tracker, parameters: Mapping[str, Any]) -> Request:
    hints = {
        "purpose": "commands",
        "user_message": text,
        "active_flow": current_user_flow(tracker),
        "requested_slot": tracker.stack.requested_slot,
    }
    return replace(Request.of_prompt(prompt, **hints), parameters=parameters)
