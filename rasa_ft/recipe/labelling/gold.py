"""Dialogue understanding tests as gold: conversations that say themselves what their messages mean."""

from __future__ import annotations

from dataclasses import replace

from rasa_ft.e2e.cases import TestCase
from rasa_ft.e2e.du_replay import ModelCallFailed, OutOfScope, replay
from rasa_ft.e2e.scope import reason_to_skip
from rasa_ft.engine.base import Engine, Setup
from rasa_ft.engine.remembered_actions import ActionMemory
from rasa_ft.errors import BudgetExceeded, RasaFtError
from rasa_ft.recipe.conversations import AnnotatedConversation
from rasa_ft.recipe.labelling.annotate import Skipped, annotated_turns


async def annotate_gold(engine: Engine, case: TestCase, setup: Setup) -> AnnotatedConversation | Skipped:
    """Play a case with its own commands; no model is asked about its messages.

    The bot must say what the case lists, else the commands are not what the conversation was written for.

    Raises:
        BudgetExceeded: a model that the flows need may not be asked any more.
    """
    reason = reason_to_skip(case, engine.nlu_side)
    if reason is not None:
        return Skipped(case.key, reason)
    setup = replace(setup, memory=ActionMemory())
    try:
        moments, broken = await replay(await engine.start(setup), case)
    except BudgetExceeded:
        raise
    except OutOfScope as reached:
        return Skipped(case.key, str(reached))
    except (Exception, SystemExit) as error:  # a broken case or action must not take others with it
        known = isinstance(error, ModelCallFailed | RasaFtError)
        return Skipped(case.key, str(error) if known else f"{type(error).__name__}: {error}", is_error=True)
    if broken is not None:
        return Skipped(case.key, f"{broken.location}: {broken.message}")
    turns = annotated_turns([moment.turn for moment in moments])
    conversation = AnnotatedConversation(case, setup, turns, tuple(moment.conversation for moment in moments))
    if not conversation.num_annotated:
        return Skipped(case.key, "no message of it has commands, or needs a model")
    return conversation
