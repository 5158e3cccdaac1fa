"""Results as JUnit XML, in the shape that Jenkins, GitLab and other build servers read.

One ``testsuite`` for each test file, one ``testcase`` for each case, in the order of the run. ``failure`` is a case
that failed, ``error`` one that could not be judged, ``skipped`` one that was not judged or, after a fail-fast stop, not
run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from rasa_ft.e2e.model import TestCase
from rasa_ft.e2e.runner import CaseResult, SuiteResult
from rasa_ft.files import write_text

NOT_RUN = "not run: an earlier case did not pass, and the run was to stop at the first"

# What XML 1.0 cannot hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class _Entry:
    case: TestCase
    result: CaseResult | None = None

    @property
    def kind(self) -> str | None:
        """The element that says why the case did not pass; None: it passed."""
        if self.result is None:
            return "skipped"
        return {"failed": "failure", "error": "error", "skipped": "skipped"}.get(self.result.status)

    @property
    def seconds(self) -> float:
        return self.result.seconds if self.result else 0.0


def write_junit(path: Path, result: SuiteResult) -> None:
    """Write `junit_xml`, completely or not at all.

    Raises:
        RasaFtError: the file cannot be written.
    """
    write_text(path, junit_xml(result))


def junit_xml(result: SuiteResult, name: str = "rasa test e2e") -> str:
    """The document, called ``name``; characters that XML cannot hold are shown as ``\\x1b``."""
    entries = [*(_Entry(found.case, found) for found in result.results), *map(_Entry, result.left_out)]
    by_file: dict[str, list[_Entry]] = {}
    for entry in entries:
        by_file.setdefault(str(entry.case.file), []).append(entry)
    root = ElementTree.Element("testsuites", {"name": name, **_counts(entries), "time": _time(result.seconds)})
    for file, own in by_file.items():
        seconds = sum(entry.seconds for entry in own)
        suite = ElementTree.SubElement(
            root, "testsuite", {"name": _clean(file), **_counts(own), "time": _time(seconds)}
        )
        for entry in own:
            _add_case(suite, entry)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _counts(entries: Sequence[_Entry]) -> dict[str, str]:
    kinds = [entry.kind for entry in entries]
    return {
        "tests": str(len(kinds)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "skipped": str(kinds.count("skipped")),
    }


def _add_case(suite: ElementTree.Element, entry: _Entry) -> None:
    case = entry.case
    attributes = {
        "name": _clean(case.name),
        "classname": _clean(_classname(case)),
        "file": _clean(str(case.file)),
        "line": str(case.location.line),
        "time": _time(entry.seconds),
    }
    element = ElementTree.SubElement(suite, "testcase", attributes)
    if entry.kind is None:
        return
    failure = entry.result.failure if entry.result else None
    if failure is not None:
        said = ElementTree.SubElement(element, entry.kind, {"message": _clean(failure.message), "type": entry.kind})
        said.text = _clean("\n".join([f"{failure.location}: {failure.message}", *failure.diff]))
    else:
        reason = entry.result.skipped if entry.result else NOT_RUN
        ElementTree.SubElement(element, entry.kind, {"message": _clean(reason or "")})


def _classname(case: TestCase) -> str:
    """The file with dots, by which build servers make their tree."""
    source = Path(case.source or case.file.name)
    return ".".join(source.with_suffix("").parts)


def _clean(text: str) -> str:
    return _NOT_XML.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def _time(seconds: float) -> str:
    return f"{seconds:.3f}"
