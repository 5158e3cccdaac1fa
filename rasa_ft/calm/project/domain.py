"""The domain: slots, responses, actions and the session's rules, merged from one file or a folder of files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rasa_ft.calm.checks.findings import Report
from rasa_ft.calm.project.domain_reading import DOMAIN_KEYS, DomainPart, read_domain_part
from rasa_ft.calm.responses import Response, Variation
from rasa_ft.calm.slots import Slot, SlotMapping, slot_document
from rasa_ft.errors import DataError, Location
from rasa_ft.yaml_source import load_yaml, plain

# Actions that the runtime brings along.
BUILTIN_ACTIONS = frozenset(
    {
        "action_listen",
        "action_restart",
        "action_session_start",
        "action_cancel_flow",
        "action_clarify_flows",
        "action_correct_flow_slot",
        "action_run_slot_rejections",
        "action_continue_interrupted_flow",
        "action_cancel_interrupted_flows",
        "action_clean_stack",
        "action_repeat_bot_messages",
        "action_trigger_search",
        "action_trigger_chitchat",
        "action_hangup",
        "action_handoff_metric",
        "action_send_text",
        "action_extract_slots",
        "action_reset_routing",
        "action_default_fallback",
        "action_default_ask_affirmation",
        "action_default_ask_rephrase",
        "action_deactivate_loop",
        "action_revert_fallback_events",
        "action_two_stage_fallback",
        "action_back",
        "action_unlikely_intent",
        "action_default_capabilities",
        "action_metadata",
    }
)
DEFAULT_INTENTS = frozenset(
    {"restart", "back", "out_of_scope", "session_start", "session_end", "silence_timeout", "nlu_fallback"}
)
# Set by a router between flows and NLU: whether the flows handle the conversation.
ROUTING_SLOT = "route_session_to_calm"
_CONTROLLED = (SlotMapping("controlled"),)
_BUILTIN_SLOTS = (
    Slot("flow_hashes", "any", mappings=_CONTROLLED, builtin=True),
    Slot("session_started_metadata", "any", mappings=_CONTROLLED, builtin=True),
    Slot("mocked_datetime", "text", mappings=_CONTROLLED, builtin=True),
    Slot("requested_slot", "text", mappings=_CONTROLLED, builtin=True),
)


@dataclass(frozen=True)
class Session:
    """``expiration_minutes`` 0: a session never expires."""

    expiration_minutes: float = 60
    carry_over_slots: bool = True
    start_after_expiry: bool = True


@dataclass(frozen=True)
class Domain:
    """``actions`` are the names that the domain lists, in order; responses are actions without being listed.

    ``actions_with_domain`` are those of them that ask for the domain (``send_domain: true``).
    """

    slots: Mapping[str, Slot] = field(default_factory=dict)
    responses: Mapping[str, Response] = field(default_factory=dict)
    actions: tuple[str, ...] = ()
    actions_with_domain: frozenset[str] = frozenset()
    intents: tuple[str, ...] = ()
    session: Session = Session()
    # The slots that each form asks for; forms are not run (`rasa_ft.calm.project.out_of_scope`).
    forms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # Where things were defined; empty for what is built in.
    files: tuple[Path, ...] = ()

    @cached_property
    def custom_actions(self) -> frozenset[str]:
        """The listed actions that are no responses (``utter_…`` always means one).

        One with the name of a built-in action runs in its place.
        """
        own = frozenset(self.actions) - {"action_listen"} - self.responses.keys()
        return frozenset(name for name in own if not name.startswith("utter_"))

    def has_action(self, name: str) -> bool:
        """Whether an action step may name it: a response, a listed or a built-in action, a form."""
        return name in self.responses or name in self._listed or name in BUILTIN_ACTIONS or name in self.forms

    @cached_property
    def _listed(self) -> frozenset[str]:
        return frozenset(self.actions)

    @cached_property
    def every_turn_actions(self) -> tuple[str, ...]:
        """Actions that run before every message, as controlled slots name them, each once."""
        mappings = (mapping for slot in self.slots.values() for mapping in slot.mappings)
        actions = (mapping.run_action_every_turn for mapping in mappings)
        return tuple(dict.fromkeys(action for action in actions if action))

    def initial_slots(self) -> dict[str, Any]:
        """The value of every slot at the start of a session."""
        return {slot.name: slot.initial_value for slot in self.slots.values()}

    def over(self, base: Domain) -> Domain:
        """This domain on top of ``base``: what both define is entirely as here."""
        return replace(
            self,
            slots=MappingProxyType({**base.slots, **self.slots}),
            responses=MappingProxyType({**base.responses, **self.responses}),
            actions=tuple(dict.fromkeys((*self.actions, *base.actions))),
        )

    def document(self) -> dict[str, Any]:
        """The domain as custom actions receive it."""
        return {
            "version": "3.1",
            "intents": list(self.intents),
            "entities": [],
            "slots": {name: slot_document(slot) for name, slot in self.slots.items()},
            "responses": {
                name: [_variation_document(variation) for variation in response.variations]
                for name, response in self.responses.items()
            },
            "actions": list(self.actions),
            "forms": {},
            "session_config": {
                "session_expiration_time": self.session.expiration_minutes,
                "carry_over_slots_to_new_session": self.session.carry_over_slots,
            },
        }


def _variation_document(variation: Variation) -> dict[str, Any]:
    keys = ("id", "text", "channel", "image", "attachment", "custom", "metadata", "translation")
    document = {key: plain(value) for key in keys if (value := getattr(variation, key)) not in (None, {})}
    if variation.buttons:
        document["buttons"] = [dict(button) for button in variation.buttons]
    return document


def with_builtin_slots(
    domain: Domain, language: str | None = None, languages: tuple[str, ...] = (), *, routed: bool = False
) -> Domain:
    """``domain`` with the slots that belong to the runtime.

    Args:
        language: only if config.yml sets one.
        routed: the assistant has a router between flows and NLU, which has a slot of its own.
    """
    slots = {slot.name: slot for slot in _BUILTIN_SLOTS}
    if routed:
        slots[ROUTING_SLOT] = Slot(ROUTING_SLOT, "bool", mappings=_CONTROLLED, builtin=True)
    if language is not None:
        values = tuple(dict.fromkeys((language, *languages)))
        slots["language"] = Slot(
            "language", "categorical", values=values, initial_value=language, mappings=_CONTROLLED, builtin=True
        )
    return domain.over(Domain(slots=slots))


def load_domain(path: Path) -> Domain:
    """The domain in a file, or in all YAML files below a folder; nothing built in is added.

    Raises:
        DataError: all problems of all files.
    """
    report = Report()
    domain = read_domain(path, report)
    report.raise_errors()
    return domain


def read_domain(path: Path, report: Report) -> Domain:
    """As `load_domain`, with the problems added to ``report``."""
    errors_before = len(report.errors)
    parts = [part for file in domain_files(path) if (part := _read_file(file, report)) is not None]
    if not parts and len(report.errors) == errors_before:
        report.error(
            f"there is no domain in {path}.",
            hint="A domain has at least one of: slots, responses, actions.",
            rule="no-domain",
        )
    return _merge(parts, report)


def domain_files(path: Path) -> list[Path]:
    """The file itself, or every YAML file below the folder, sorted."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.suffix in (".yml", ".yaml") and file.is_file())
    return [path]


def _read_file(file: Path, report: Report) -> DomainPart | None:
    try:
        content = load_yaml(file)
    except DataError as error:
        report.add(error)
        return None
    if content is None or (isinstance(content, Mapping) and not DOMAIN_KEYS & content.keys()):
        return None
    return read_domain_part(content, file, report)


def _merge(parts: list[DomainPart], report: Report) -> Domain:
    slots: dict[str, Slot] = {}
    responses: dict[str, Response] = {}
    session: Mapping[str, Any] = {}
    for part in parts:
        _add_unique(slots, part.slots, "slot", report)
        _add_unique(responses, part.responses, "response", report)
        session = {**session, **part.session}
    return Domain(
        slots=MappingProxyType(slots),
        responses=MappingProxyType(responses),
        actions=_merged_names([part.actions for part in parts], "action", report),
        actions_with_domain=frozenset().union(*(part.actions_with_domain for part in parts)),
        intents=_merged_names([part.intents for part in parts], "intent", report),
        session=Session(**plain(session)),
        forms=MappingProxyType({name: slots for part in parts for name, slots in part.forms.items()}),
        files=tuple(part.file for part in parts),
    )


def _add_unique(into: dict[str, Any], more: Mapping[str, Any], kind: str, report: Report) -> None:
    for name, item in more.items():
        if name in into:
            report.error(
                f"{kind} '{name}' is already defined in {into[name].location}.",
                item.location,
                rule=f"duplicate-{kind}",
                culprit=name,
            )
        else:
            into[name] = item


def _merged_names(parts: list[tuple[tuple[str, Location | None], ...]], kind: str, report: Report) -> tuple[str, ...]:
    seen: dict[str, Location | None] = {}
    for name, location in (entry for part in parts for entry in part):
        if name in seen:
            report.warning(
                f"{kind} '{name}' is listed twice; first in {seen[name]}.",
                location,
                rule="duplicate-name",
                culprit=name,
            )
        else:
            seen[name] = location
    return tuple(seen)
