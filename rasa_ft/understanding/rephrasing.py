"""The response rephraser: a language model words what is written in the domain, to suit the conversation.

Nothing here ever fails a turn: where the model gives no answer, the bot says what is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from rasa_ft.calm.dialogue.runtime import Runtime
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.events import BotUttered, Draft
from rasa_ft.calm.project.nlg import Rephrasing
from rasa_ft.errors import DataError, RasaFtError, RequestRejected
from rasa_ft.llm.client import LLM, Request, aclose
from rasa_ft.llm.cooldown import Cooldown
from rasa_ft.understanding.rendering import PROMPTS, history, one_line, render_prompt, render_prompt_text

log = logging.getLogger(__name__)

REPHRASE = PROMPTS / "rephrase_response.jinja2"
SUMMARIZE = PROMPTS / "summarize_conversation.jinja2"
# The user waits for the bot meanwhile.
DEADLINE_SECONDS = 10.0
# A conversation of fewer lines is its own summary.
_WORTH_A_SUMMARY = 4
_ALL_LINES = 10_000


@dataclass
class ResponseRephraser:
    """Rewords the responses that ask for it, or all of them, as ``settings`` say.

    After a failure that is not the message's own, the model is left alone for the cool-down. ``deadline`` is what one
    message may take, in seconds.
    """

    settings: Rephrasing
    llm: LLM
    deadline: float = DEADLINE_SECONDS
    cooldown: Cooldown = field(default_factory=Cooldown)

    async def reword(self, message: BotUttered, tracker: Tracker, runtime: Runtime) -> BotUttered:
        """See `rasa_ft.calm.dialogue.runtime.Rephraser`; the text changes, and the metadata keep the written one."""
        draft = message.draft or Draft()
        if not message.text or not (draft.rephrase or self.settings.rephrase_all) or self.cooldown.rest:
            return message
        try:
            async with asyncio.timeout(self.deadline):
                text = await self._reworded(message.text, draft, tracker)
        except TimeoutError:
            self._leave_alone(f"no answer within {self.deadline:g} seconds")
        except (RequestRejected, DataError) as error:
            log.warning("response %s is said as written: %s", message.utter_action, error)
        except RasaFtError as error:
            self._leave_alone(str(error))
        else:
            self.cooldown.succeeded()
            if text:
                written = {"domain_ground_truth": [message.text]}
                return replace(message, text=text, source="rephraser", metadata={**message.metadata, **written})
            log.warning("response %s is said as written: the rephraser's answer is empty", message.utter_action)
        return message

    async def aclose(self) -> None:
        await aclose(self.llm)

    def _leave_alone(self, reason: str) -> None:
        if self.cooldown.failed():
            log.warning(
                "responses are said as written for the next %g seconds: the rephraser failed: %s",
                self.cooldown.seconds,
                reason,
            )

    async def _reworded(self, text: str, draft: Draft, tracker: Tracker) -> str:
        variables = await self._variables(text, tracker)
        if draft.rephrase_prompt:
            prompt = render_prompt_text(draft.rephrase_prompt, variables)
        else:
            prompt = render_prompt(self.settings.prompt_template or REPHRASE, variables)
        return await self._ask(prompt, "reword")

    async def _variables(self, text: str, tracker: Tracker) -> Mapping[str, Any]:
        user = tracker.latest_user
        current_input = f"USER: {one_line(user.text)}" if user and user.text else ""
        return {
            "history": await self._history(tracker, current_input),
            "suggested_response": text,
            "current_input": current_input,
            "slots": dict(tracker.slots),
            "language": tracker.slots.get("language") or "",
        }

    async def _history(self, tracker: Tracker, current_input: str) -> str:
        """What was said before; the user's last message stands by itself unless the bot has said something since."""
        lines = history(tracker, _ALL_LINES)
        if lines and lines[-1] == current_input:
            lines = lines[:-1]
        if not self.settings.summarize_history or len(lines) < _WORTH_A_SUMMARY:
            return "\n".join(self._last_turns(lines))
        prompt = render_prompt(SUMMARIZE, {"conversation": "\n".join(lines)})
        return await self._ask(prompt, "summarize")

    def _last_turns(self, lines: list[str]) -> Iterator[str]:
        turns = [list(turn) for _, turn in groupby(lines, key=_speaker)] if self.settings.join_utterances else lines
        for turn in turns[-self.settings.max_historical_turns :]:
            yield from [turn] if isinstance(turn, str) else turn

    async def _ask(self, prompt: str, purpose: str) -> str:
        return (await self.llm.complete(Request.of_prompt(prompt, purpose=purpose))).text.strip()


def _speaker(line: str) -> str:
    return line.partition(":")[0]
