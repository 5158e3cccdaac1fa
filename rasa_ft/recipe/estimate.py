"""What data preparation will ask of its models, told beforehand and without asking any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rasa_ft.e2e.cases import BotStep, Suite, TestCase, UserStep
from rasa_ft.engine.base import Engine
from rasa_ft.llm.config import ModelGroup
from rasa_ft.llm.pricing import estimated_cost
from rasa_ft.recipe.settings import PrepareSettings
from rasa_ft.recipe.wordings.rephrase_config import RephraseConfig

# The role of the model that gives the second opinion.
SECOND = "second opinion"
# English text has about this many characters a token with any of today's tokenizers.
_CHARACTERS_PER_TOKEN = 4.0
# Of one answer: a command or two. The lines of a prompt that a response without a text in the test adds.
_ANSWER_TOKENS = 14
_REPLY_TOKENS = 25
# Of a rephraser's answer for each wording, beyond the words themselves: quotes and commas.
_QUOTES = 4


@dataclass(frozen=True)
class Item:
    """Calls of one kind; ``cost`` None: no price is known. Tokens are those of all calls together."""

    kind: str
    role: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


@dataclass(frozen=True)
class Estimate:
    """All that a run may ask. It is an upper bound of calls without refills: what the store has is not asked again."""

    items: tuple[Item, ...]

    @property
    def calls(self) -> int:
        return sum(item.calls for item in self.items)

    @property
    def cost(self) -> float | None:
        """None if the price of one of the models is not known."""
        costs = [item.cost for item in self.items if item.calls]
        return None if any(cost is None for cost in costs) else sum(cost for cost in costs if cost is not None)


@dataclass(frozen=True)
class _Message:
    """A typed message: its length, and that of the prompt that it is understood with, in tokens."""

    tokens: float
    prompt: float
    transcript: float


async def estimate(
    settings: PrepareSettings,
    engine: Engine,
    suite: Suite,
    config: RephraseConfig,
    groups: Mapping[str, ModelGroup],
) -> Estimate:
    """Count the calls of all tests as if each passed and each rephrasing was new.

    Args:
        groups: the model groups of the roles ``teacher``, ``rephraser`` and, if it has one of its own, `SECOND`.
    """
    messages = [message for case in suite.cases for message in await _messages(engine, suite, case)]
    number = settings.num_rephrases
    question = _tokens(config.prompt_template.read_text(encoding="utf-8", errors="replace"))
    annotate = _counted(messages, lambda one: one.prompt, lambda one: _ANSWER_TOKENS)
    rephrase = _counted(messages, lambda one: question + one.transcript, lambda one: number * (one.tokens + _QUOTES))
    check = _counted(messages, lambda one: number * one.prompt, lambda one: number * _ANSWER_TOKENS)
    items = [
        _item("annotate", "teacher", len(messages), annotate, groups),
        _item("rephrase", "rephraser", len(messages), rephrase, groups),
        _item("check", "teacher", number * len(messages), check, groups),
    ]
    if not number:
        items = items[:1]
    if settings.second_opinion:
        role = SECOND if SECOND in groups else "teacher"
        both = (annotate[0] + check[0] * bool(number), annotate[1] + check[1] * bool(number))
        items.append(_item("second", role, (1 + number) * len(messages), both, groups))
    return Estimate(tuple(items))


async def _messages(engine: Engine, suite: Suite, case: TestCase) -> list[_Message]:
    """The typed messages of a case; the prompt grows with what was said before."""
    found: list[_Message] = []
    conversation = await engine.start(suite.setup(case))
    said = 0.0
    base: float | None = None
    for step in case.steps:
        if isinstance(step, UserStep):
            if not step.text.startswith("/"):
                if base is None:
                    base = _tokens(await conversation.prompt(step.text)) - _tokens(step.text)
                found.append(_Message(_tokens(step.text), base + said + _tokens(step.text), said))
            said += _tokens(step.text)
            if case.uses_assertions:
                said += _REPLY_TOKENS
        else:
            said += _tokens(step.text) if isinstance(step, BotStep) else _REPLY_TOKENS
    return found


def _counted(
    messages: Sequence[_Message], prompt: Callable[[_Message], float], answer: Callable[[_Message], float]
) -> tuple[int, int]:
    """Tokens of all prompts and of all answers."""
    return round(sum(map(prompt, messages))), round(sum(map(answer, messages)))


def _item(kind: str, role: str, calls: int, tokens: tuple[int, int], groups: Mapping[str, ModelGroup]) -> Item:
    cost = estimated_cost(groups[role], calls=calls, prompt_tokens=tokens[0], completion_tokens=tokens[1])
    return Item(kind, role, calls, *tokens, cost)


def _tokens(text: str) -> float:
    return len(text) / _CHARACTERS_PER_TOKEN
