"""What is wrong with an assistant's files: collected while reading, shown all at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from rasa_ft.errors import DataError, Location
from rasa_ft.yaml_source import did_you_mean, location_of

_KIND_NAMES = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
}


@dataclass(frozen=True)
class Finding:
    """One problem: an ``error`` stops the assistant from loading, a ``warning`` does not.

    ``fatal`` errors are those of the loader, which stop an assistant that is not validated too. ``rule`` is the stable
    name of the check (`rasa_ft.calm.checks.rules`); ``culprit`` the word in the file that is wrong, where it is one.
    """

    severity: Literal["error", "warning"]
    message: str
    location: Location | None = None
    hint: str | None = None
    fatal: bool = False
    rule: str = "other"
    culprit: str | None = None

    def as_error(self) -> DataError:
        return DataError(self.message, location=self.location, hint=self.hint)

    def __str__(self) -> str:
        return str(self.as_error())


@dataclass
class Report:
    """Findings in the order in which they were made.

    ``set_aside``: files that were read and belong to a part that is not run (`rasa_ft.calm.project.nlu_side`).
    """

    findings: list[Finding] = field(default_factory=list)
    set_aside: list[tuple[Path, Mapping[str, Any]]] = field(default_factory=list)

    def error(
        self,
        message: str,
        location: Location | None = None,
        hint: str | None = None,
        *,
        rule: str = "other",
        culprit: str | None = None,
    ) -> None:
        self.findings.append(Finding("error", message, location, hint, rule=rule, culprit=culprit))

    def fatal(
        self,
        message: str,
        location: Location | None = None,
        hint: str | None = None,
        *,
        rule: str = "other",
        culprit: str | None = None,
    ) -> None:
        """An error that `relax` leaves one: no engine could run such an assistant."""
        self.findings.append(Finding("error", message, location, hint, True, rule, culprit))

    def warning(
        self,
        message: str,
        location: Location | None = None,
        hint: str | None = None,
        *,
        rule: str = "other",
        culprit: str | None = None,
    ) -> None:
        self.findings.append(Finding("warning", message, location, hint, rule=rule, culprit=culprit))

    def add(self, error: DataError, rule: str = "unreadable-file") -> None:
        """Keep an error that some reader raised; a collected one as its parts."""
        for part in error.parts or (error,):
            self.findings.append(Finding("error", part.message, part.location, part.hint, rule=rule))

    def relax(self, start: int) -> None:
        """Make warnings of the errors from index ``start`` on, but not of fatal ones."""
        self.findings[start:] = [
            finding if finding.fatal else replace(finding, severity="warning") for finding in self.findings[start:]
        ]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    def raise_errors(self) -> None:
        """
        Raises:
            DataError: there is at least one error; shows all of them.
        """
        if self.errors:
            raise DataError.collected([finding.as_error() for finding in self.errors])


def known_keys(
    node: Mapping[str, Any],
    known: Collection[str],
    what: str,
    report: Report,
    *,
    rule: str = "unknown-key",
    severity: Literal["error", "warning"] = "error",
) -> None:
    """Report every key of ``node`` that is not ``known``; ``what`` names the thing, as in ``a slot``."""
    tell = report.error if severity == "error" else report.warning
    for key in node:
        if key not in known:
            message = f"'{key}' is not a key of {what}.{did_you_mean(key, known)}"
            hint = f"Known keys: {', '.join(sorted(known))}."
            tell(message, location_of(node, key), hint, rule=rule, culprit=str(key))


def get_typed(
    node: Mapping[str, Any], key: str, kind: type, report: Report, default: Any = None, rule: str = "wrong-type"
) -> Any:
    """``node[key]`` if it is of ``kind`` (int counts as float, bool never as a number), else ``default``, reported."""
    value = node.get(key)
    if value is None:
        return default
    if is_kind(value, kind):
        return value
    message = f"'{key}' must be {_KIND_NAMES[kind]}, not {shown(value)}."
    report.error(message, location_of(node, key), rule=rule, culprit=_written(value) or key)
    return default


def is_kind(value: Any, kind: type) -> bool:
    """isinstance with YAML in mind: mappings are dicts, whole numbers are numbers, booleans are not."""
    if kind in (int, float):
        return isinstance(value, int | float if kind is float else int) and not isinstance(value, bool)
    return isinstance(value, Mapping if kind is dict else kind)


def shown(value: Any) -> str:
    """``value`` as it may appear in a message: short, on one line."""
    text = repr(value) if isinstance(value, str | int | float | bool) or value is None else f"a {type_name(value)}"
    return text if len(text) <= 60 else f"{text[:57]}…"


def _written(value: Any) -> str | None:
    """How a scalar may stand in the file; None for what spans lines."""
    is_one_word = isinstance(value, str | int | float) and not isinstance(value, bool) and "\n" not in str(value)
    return str(value) if is_one_word else None


def type_name(value: Any) -> str:
    return "mapping" if isinstance(value, Mapping) else "list" if isinstance(value, list) else type(value).__name__


def place_of(node: Any, key: Any = None) -> Location:
    """Where ``node``, or ``key`` in it, stands; for content that came from no file a place that says so."""
    return location_of(node, key) or Location(Path("?"), 1)


def texts(node: Mapping[str, Any], key: str, report: Report) -> tuple[str, ...]:
    """``node[key]`` as a list of names; anything else in it is reported and left out."""
    values = get_typed(node, key, list, report, default=())
    return tuple(_only_texts(values, key, report))


def _only_texts(values: Any, key: str, report: Report) -> Iterable[str]:
    for index, value in enumerate(values):
        if isinstance(value, str):
            yield value
        else:
            message = f"'{key}' must list names, not {shown(value)}."
            report.error(message, location_of(values, index), rule="wrong-type", culprit=_written(value))
