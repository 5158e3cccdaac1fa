"""Public CALM assistants, and what a correct model would answer in each of their own end-to-end tests.

The assistants are not part of this repository. Clone them below one folder and name it in the environment variable
``RASA_FT_PUBLIC_ASSISTANTS``; each is skipped where its clone is missing. One file ``<name>.yml`` beside this one
describes one assistant::

    repository: owner/name
    commit: 0123abc…              # of the clone; any other is refused, since scripts fit one version
    folder: name                  # of the clone below RASA_FT_PUBLIC_ASSISTANTS; default: the repository's name
    project: .                    # the assistant's folder in the clone; the following paths start there
    config: config.yml            # also `domain` and `data`, each only if it does not lie where it usually does
    endpoints: endpoints.yml      # a copy is used, with our action server's address; without one, an empty file
    environment: {NAME: value}    # variables that the assistant's files and actions need
    actions: server               # `server`: its actions run on a rasa_sdk server, started in the project's folder;
                                  # `in process`: in this process; `none` (default)
    action_modules: [actions.a]   # the modules to serve, if some of `actions` need what is out of scope
    workspace: name               # a folder of `workspaces.py` to start the server in; default: the project's
    stand_ins: true               # `tests/public_assistants/stand_ins` on the server's PYTHONPATH
    validate: false               # it is loaded as with `--skip-validation`
    errors: reason                # it cannot be loaded, and why (the error must contain this text)
    skip:                         # out-of-scope parts by a short name, used by `skip` of cases
      nlu: reason
    cases:
      e2e_tests:                  # a file or folder of E2E tests
        file.yml:                 # a test file below it
          case name:
            - start flow x        # the model's answer at its first call; a list is several lines
            - [set slot a 1, set slot b 2]
          other case: {skip: nlu} # not played; with answers it is, and the runner must skip it by itself
          third case: {fails: why it cannot pass here, answers: [start flow x]}
          fourth case: {note: what is special about the answers, answers: [start flow x]}
          fifth case: {found: false, answers: [provide info]}     # the documents have no answer; default: they do
          sixth case: {same_as: "e2e_tests/file.yml::case name"}
        other.yml:
          every case: [start flow x, "set slot a {message}"]    # each without an entry of its own

One answer is used for each call of the model, in order; ``{message}`` in it is what the user just said. Messages that
need no model (button payloads, empty or over-long texts, forced raw text) take none, nor do answers from documents and
rephrased messages. A case must use up all its answers; ``fails`` cases must fail. Every case of the named tests needs
an entry. Several assistants or configurations of one repository: a file for each.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rasa_ft.calm.dialogue.runtime import Runtime
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.events import BotUttered
from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.model import TestCase
from rasa_ft.errors import LLMError
from rasa_ft.llm.client import Completion, Request
from rasa_ft.yaml_source import dump_yaml, load_yaml, plain

HERE = Path(__file__).parent
STAND_INS = HERE / "stand_ins"
_EVERY = "::every case"
VARIABLE = "RASA_FT_PUBLIC_ASSISTANTS"


@dataclass(frozen=True)
class Script:
    """What the model answers in one case; ``skip`` and ``fails`` tell why it cannot be judged, or cannot pass.

    ``answers`` None: the case is not played. ``found``: whether the assistant's documents, if it has any, tell what
    users ask.
    """

    answers: tuple[str, ...] | None = None
    found: bool = True
    skip: str | None = None
    fails: str | None = None


@dataclass(frozen=True)
class PublicAssistant:
    """One assistant as its file describes it; see the module's docstring."""

    name: str
    repository: str
    commit: str
    folder: str
    project: str = "."
    config: str | None = None
    domain: str | None = None
    data: str | None = None
    endpoints: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    actions: str = "none"
    action_modules: tuple[str, ...] = ()
    workspace: str | None = None
    stand_ins: bool = False
    validate: bool = True
    errors: str | None = None
    tests: tuple[str, ...] = ()
    scripts: Mapping[str, Script] = field(default_factory=dict)

    @property
    def clone(self) -> Path | None:
        """Where the clone is; None without one."""
        root = os.environ.get(VARIABLE)
        clone = Path(root).absolute() / self.folder if root else None
        return clone if clone is not None and clone.is_dir() else None

    @property
    def missing(self) -> str | None:
        """Why the assistant cannot be used here, if so."""
        if not os.environ.get(VARIABLE):
            return f"{VARIABLE} does not name the folder with the clones of public assistants"
        return None if self.clone else f"${VARIABLE} holds no folder {self.folder}"

    def source(self) -> Path:
        """The assistant's folder in the clone."""
        assert self.clone is not None
        return self.clone / self.project

    def given(self, key: str) -> Path | None:
        """The path of `config`, `domain` or `data`, if it lies in an unusual place."""
        path = getattr(self, key)
        return self.source() / path if path else None

    def cases(self) -> dict[str, TestCase]:
        """Its test cases by ``tests/file::name``."""
        suites = {entry: load_suite(self.source() / entry) for entry in self.tests}
        return {f"{entry}/{case.key}": case for entry, suite in suites.items() for case in suite.cases}


def checked_out_commit(clone: Path) -> str:
    """The commit that the clone stands at."""
    command = ["git", "-C", str(clone), "rev-parse", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


# -- reading --------------------------------------------------------------------------------------------------------


def public_assistants() -> list[PublicAssistant]:
    return [_expanded(read_assistant(file)) for file in sorted(HERE.glob("*.yml"))]


def _expanded(assistant: PublicAssistant) -> PublicAssistant:
    """With an entry for each case of files that have one for all."""
    rules = {key.removesuffix(_EVERY): script for key, script in assistant.scripts.items() if key.endswith(_EVERY)}
    if not rules or assistant.missing is not None:
        return assistant
    found = {key: rules[file] for key in assistant.cases() if (file := key.partition("::")[0]) in rules}
    own = {key: script for key, script in assistant.scripts.items() if not key.endswith(_EVERY)}
    return replace(assistant, scripts=found | own)


def read_assistant(file: Path) -> PublicAssistant:
    content = plain(load_yaml(file))
    reasons = content.pop("skip", {})
    tests = content.pop("cases", {})
    scripts: dict[str, Script] = {}
    for entry, files in tests.items():
        for test_file, cases in files.items():
            for name, written in cases.items():
                scripts[f"{entry}/{test_file}::{name}"] = _script(written, reasons, scripts)
    content.setdefault("folder", content["repository"].rpartition("/")[2])
    return PublicAssistant(name=file.stem, scripts=scripts, tests=tuple(tests), **content)


def _script(written: Any, reasons: Mapping[str, str], before: Mapping[str, Script]) -> Script:
    if isinstance(written, list):
        return Script(tuple(map(_answer, written)))
    unknown = set(written) - {"answers", "found", "skip", "fails", "note", "same_as"}
    if unknown:
        raise ValueError(f"unknown keys in a case: {', '.join(sorted(unknown))}")
    if "same_as" in written:
        return before[written["same_as"]]
    skip = reasons[written["skip"]] if "skip" in written else None
    answers = tuple(map(_answer, written["answers"])) if "answers" in written else None
    return Script(answers, written.get("found", True), skip, written.get("fails"))


def _answer(written: str | list[str]) -> str:
    return written if isinstance(written, str) else "\n".join(written)


# -- endpoints ------------------------------------------------------------------------------------------------------


def write_endpoints(assistant: PublicAssistant, folder: Path, action_server: str | None) -> Path:
    """The assistant's endpoints with the address of our action server, in a file of our own."""
    file = assistant.source() / assistant.endpoints if assistant.endpoints else None
    endpoints = dict(plain(load_yaml(file)) or {}) if file else {}
    if assistant.actions == "none":
        endpoints.pop("action_endpoint", None)
    elif assistant.actions == "in process":
        endpoints["action_endpoint"] = {"actions_module": "actions"}
    else:
        endpoints["action_endpoint"] = {"url": action_server}
    written = folder / "endpoints.yml"
    written.write_text(dump_yaml(endpoints))
    return written


# -- models ---------------------------------------------------------------------------------------------------------


class ScriptedLLM:
    """Answers with the script that is being played, one entry for each call."""

    def __init__(self) -> None:
        self._answers: Iterator[str] = iter(())

    def play(self, script: Script) -> None:
        self._answers = iter(script.answers or ())

    def unused(self) -> list[str]:
        return list(self._answers)

    async def complete(self, request: Request) -> Completion:
        answer = next(self._answers, None)
        if answer is None:
            raise LLMError(f"the script has no answer to '{request.hints.get('user_message')}'.")
        message = request.hints.get("user_message") or ""
        return Completion(text=answer.replace("{message}", message), model="scripted", latency=0.0)


class ScriptedSearch:
    """Documents that always have an answer, or never."""

    def __init__(self) -> None:
        self.found = True

    async def answer(self, tracker: Tracker, runtime: Runtime) -> BotUttered | None:
        return BotUttered("An answer from the documents.", source="search") if self.found else None
