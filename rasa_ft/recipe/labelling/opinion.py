"""Second opinions: another model, or the same one a second time, reads the prompt that the teacher was asked with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rasa_ft.calm.commands import Command
from rasa_ft.calm.dsl import Codec
from rasa_ft.engine.base import Turn
from rasa_ft.errors import LLMError
from rasa_ft.llm.client import LLM, Request

# In place of a model group's name: the teacher itself, once more.
AGAIN = "again"
# Makes it another question than the first one, which a store would answer with what it has.
_OTHER_SEED: Mapping[str, Any] = {"seed": 2}


@dataclass(frozen=True)
class SecondOpinion:
    """Who is asked; ``parameters`` are sent along with each question."""

    llm: LLM
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_teacher(cls, teacher: LLM) -> SecondOpinion:
        """The teacher asked again: at temperature 0 it will hardly say anything else, and a recording never does."""
        return cls(teacher, _OTHER_SEED)

    async def on(self, turn: Turn, codec: Codec) -> tuple[Command, ...] | LLMError:
        """What is understood of ``turn``; see `second_opinion`."""
        asked = replace(turn, parameters={**turn.parameters, **self.parameters})
        return await second_opinion(self.llm, asked, codec)


async def second_opinion(llm: LLM, turn: Turn, codec: Codec) -> tuple[Command, ...] | LLMError:
    """The commands that ``llm`` reads out of the prompt that ``turn`` was understood with; the error if it cannot.

    Raises:
        ValueError: no model was asked in this turn, so there is no prompt.
        BudgetExceeded: no model may be asked any more.
    """
    if turn.prompt is None:
        raise ValueError(f"no model was asked about '{turn.text}'")
    request = Request.of_prompt(
        turn.prompt,
        purpose="commands",
        user_message=turn.text,
        active_flow=turn.active_flow,
        requested_slot=turn.requested_slot,
    )
    try:
        completion = await llm.complete(replace(request, parameters=turn.parameters))
    except LLMError as error:
        return error
    return codec.parse(completion.text)
