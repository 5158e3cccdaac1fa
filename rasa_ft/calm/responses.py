"""What the bot says: variations of a response, which one is chosen, and how its text is filled."""

from __future__ import annotations

import logging
import random
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from rasa_ft.calm.events import BotUttered, Button
from rasa_ft.calm.flows.conditions import holds
from rasa_ft.calm.templates import TemplateFailure, fill
from rasa_ft.errors import Location

log = logging.getLogger(__name__)
_formatter = string.Formatter()


@dataclass(frozen=True)
class SlotCondition:
    """The older form of a condition; the comparison ignores case."""

    slot: str
    value: Any

    def holds(self, slots: Mapping[str, Any]) -> bool:
        return str(slots.get(self.slot)).lower() == str(self.value).lower()


@dataclass(frozen=True)
class Variation:
    """One wording. ``condition``: a predicate over ``slots``, or older conditions that must all hold."""

    text: str | None = None
    condition: str | tuple[SlotCondition, ...] | None = None
    channel: str | None = None
    buttons: tuple[Mapping[str, Any], ...] = ()
    quick_replies: tuple[Any, ...] = ()
    image: str | None = None
    attachment: Any = None
    custom: Any = None
    elements: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    translation: Mapping[str, str] = field(default_factory=dict)
    id: str | None = None
    location: Location | None = field(default=None, compare=False)

    @property
    def is_jinja(self) -> bool:
        return self.metadata.get("template") == "jinja"

    @property
    def rephrase(self) -> bool:
        return self.metadata.get("rephrase") is True

    @property
    def rephrase_prompt(self) -> str | None:
        """The prompt that replaces the rephraser's own for this response."""
        return self.metadata.get("rephrase_prompt")

    def satisfied(self, slots: Mapping[str, Any]) -> bool:
        """Whether the condition holds; always, without one."""
        if isinstance(self.condition, tuple):
            return all(condition.holds(slots) for condition in self.condition)
        return holds(self.condition, {"slots": slots}, {"slots": slots})


@dataclass(frozen=True)
class Response:
    name: str
    variations: tuple[Variation, ...]
    location: Location | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Scope:
    """What a response may show: ``arguments`` (such as ``value`` in rejections) win over slots, slots over context.

    The context is the top frame of the dialogue stack; jinja texts reach it as ``context``.
    """

    slots: Mapping[str, Any]
    context: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def language(self) -> str | None:
        return self.slots.get("language")

    def placeholder(self, name: str) -> Any:
        """
        Raises:
            KeyError: nothing has this name.
        """
        for values in (self.arguments, self.slots, {"context": self.context}):
            if name in values:
                return values[name]
        return self.context[name]


def render_response(
    responses: Mapping[str, Response], name: str, scope: Scope, *, channel: str, rng: random.Random
) -> BotUttered | None:
    """What response ``name`` says now: `choose_variation`, then `render_variation`."""
    variation = choose_variation(responses, name, scope, channel=channel, rng=rng)
    return render_variation(name, variation, scope) if variation else None


def choose_variation(
    responses: Mapping[str, Response], name: str, scope: Scope, *, channel: str, rng: random.Random
) -> Variation | None:
    """The variation of response ``name`` to say now (`select_variation`).

    If none applies, the text of ``utter_internal_error_rasa`` is said, as in CALM. None: there is no such response, and
    nothing is said.
    """
    if name not in responses:
        log.warning("response %s does not exist; nothing is said", name)
        return None
    variation = select_variation(responses[name], scope, channel=channel, rng=rng)
    if variation is not None:
        return variation
    log.error("no variation of response %s applies", name)
    fallback = responses.get("utter_internal_error_rasa")
    spare = select_variation(fallback, scope, channel=channel, rng=rng) if fallback else None
    return Variation(text=spare.text, translation=spare.translation) if spare else None


def select_variation(response: Response, scope: Scope, *, channel: str, rng: random.Random) -> Variation | None:
    """One variation by chance out of the first group that is not empty; None if all are.

    Groups: condition true and this channel, this channel, condition true, neither. Variations that are translated
    into the conversation's language are preferred inside a group.
    """
    for group in _groups(response.variations, scope.slots, channel):
        translated = [variation for variation in group if scope.language in variation.translation]
        if candidates := translated or group:
            return rng.choice(candidates)
    return None


def _groups(variations: tuple[Variation, ...], slots: Mapping[str, Any], channel: str) -> list[list[Variation]]:
    conditional = [item for item in variations if item.condition is not None and item.satisfied(slots)]
    plain = [item for item in variations if item.condition is None]
    return [
        [item for item in candidates if item.channel == wanted]
        for wanted in (channel, None)
        for candidates in (conditional, plain)
    ]


def render_variation(name: str, variation: Variation, scope: Scope) -> BotUttered:
    """The message that ``variation`` of response ``name`` makes; one event, however many parts a channel sends."""

    def fill(value: Any) -> Any:
        return _filled(value, variation.is_jinja, scope)

    language = scope.language
    return BotUttered(
        text=fill(variation.translation.get(language or "", variation.text)),
        buttons=tuple(_button(button, language, fill) for button in variation.buttons),
        utter_action=name,
        image=fill(variation.image),
        attachment=fill(variation.attachment),
        custom=fill(variation.custom),
        quick_replies=tuple(fill(list(variation.quick_replies))),
        elements=fill(variation.elements),
    )


def _button(button: Mapping[str, Any], language: str | None, fill: Any) -> Button:
    translated = (button.get("translation") or {}).get(language)
    if isinstance(translated, Mapping):
        translated = translated.get("title")
    return Button(title=fill(translated or button["title"]), payload=fill(button["payload"]))


def _filled(value: Any, is_jinja: bool, scope: Scope) -> Any:
    """``value`` with every text inside it filled."""
    if isinstance(value, str):
        return fill_jinja(value, scope) if is_jinja else fill_placeholders(value, scope)
    if isinstance(value, Mapping):
        return {key: _filled(item, is_jinja, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, is_jinja, scope) for item in value]
    return value


def fill_placeholders(text: str, scope: Scope) -> str:
    """Replace ``{name}``; ``{{name}}`` prints ``{name}``.

    All or nothing, as in CALM: with one unknown name, a dotted or formatted one, or other braces (JSON) in it, the
    text stays as it is.
    """
    try:
        return "".join(literal + _value(name, spec, form, scope) for literal, name, spec, form in _pieces(text))
    except (KeyError, ValueError) as error:
        log.warning("the text %r is said unfilled: %s", text, error)
        return text


@lru_cache(maxsize=4096)
def _pieces(text: str) -> tuple[tuple[str, str | None, str | None, str | None], ...]:
    return tuple(_formatter.parse(text))


def _value(name: str | None, spec: str | None, conversion: str | None, scope: Scope) -> str:
    if name is None:
        return ""
    if spec or conversion:
        raise ValueError(f"'{name}' has a format")
    return str(scope.placeholder(name))


def fill_jinja(text: str, scope: Scope) -> str:
    """Render ``text`` with slots and arguments as variables and ``context``; a text that fails stays as it is."""
    try:
        return fill(text, {**scope.slots, "context": scope.context, **scope.arguments})
    except TemplateFailure as error:
        log.warning("the text %r is said unfilled: %s", text, error)
        return text


def placeholders(text: str) -> tuple[str, ...]:
    """Names in braces of a plain text, empty ones too; none if its braces do not pair up."""
    try:
        return tuple(name for _, name, _, _ in _formatter.parse(text) if name is not None)
    except ValueError:
        return ()
