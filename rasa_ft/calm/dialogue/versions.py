"""Older versions of rasa-pro: their default patterns, and how they read a model's answer.

Other differences between versions are where they matter; see `Runtime.version`. Versions are (major, minor, patch).
"""

from __future__ import annotations

from functools import cache
from types import MappingProxyType

from rasa_ft.calm.dialogue.runtime import Version
from rasa_ft.calm.flows.loading import Flows, load_flows
from rasa_ft.calm.flows.model import Flow
from rasa_ft.calm.project.assistant import PATTERNS, builtin_flows

# From which version on which file of default patterns is out of date, the newest first: since 3.16 a bot asks whether
# there is something else, and how content the user was (changelog of rasa-pro); since 3.14 whether to go on with what
# was interrupted, which went on by itself before.
_OUTDATED = (((3, 16, 0), "before_3_16.yml"), ((3, 14, 0), "before_3_14.yml"))
# Since then what is no letter or digit is cut off at the end of a value (seen in the released packages).
_CUTS_VALUES = (3, 12, 14)


def flows_of(flows: Flows, version: Version) -> Flows:
    """``flows`` with the default patterns of ``version`` where the assistant has no own."""
    older: dict[str, Flow] = {}
    for since, file in _OUTDATED:
        if version < since:
            older.update(_patterns(file))
    if not older:
        return flows
    return MappingProxyType(
        {name: older.get(name, flow) if flow is builtin_flows().get(name) else flow for name, flow in flows.items()}
    )


def keeps_punctuation(version: Version) -> bool:
    """Whether values are taken as they are written, a question mark at the end included."""
    return version < _CUTS_VALUES


@cache
def _patterns(file: str) -> Flows:
    return load_flows(PATTERNS / file)
