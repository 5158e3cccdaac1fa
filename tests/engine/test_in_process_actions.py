"""Custom actions in this process: which classes are found, and whatever they do when they run."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from rasa_ft.calm.dialogue.runtime import ActionFailed, ActionRejected, ActionResult
from rasa_ft.calm.dialogue.tracker import Tracker
from rasa_ft.calm.project.domain import Domain
from rasa_ft.engine.in_process_actions import InProcessActions
from rasa_ft.engine.stdout import kept_off_stdout
from rasa_ft.errors import DataError

TRACKER = Tracker.new({"day": "friday"})
HEAD = "from rasa_sdk import Action\nfrom rasa_sdk.events import SlotSet\n"


def action(name: str, body: str, *, head: str = "def", kind: str = "Action") -> str:
    title = name.title().replace("_", "")
    return (
        f"\n\nclass {title}({kind}):\n    def name(self):\n        return '{name}'\n\n"
        f"    {head} run(self, dispatcher, tracker, domain):\n        {body}\n"
    )


def loaded(folder: Path, **modules: str) -> InProcessActions:
    package = folder / "actions"
    package.mkdir(exist_ok=True)
    for name, text in {"__init__": "", **modules}.items():
        file = package / f"{name.replace('__in__', '/')}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(HEAD + text if text else "")
    return InProcessActions.load(folder, "actions", Domain(), channel="collector")


def run(actions: InProcessActions, name: str = "a") -> ActionResult:
    return asyncio.run(actions.run(name, TRACKER))


def test_plain_and_async(tmp_path: Path):
    body = "return [SlotSet('seen', tracker.get_slot('day'))]"
    actions = loaded(tmp_path, one=action("a", body) + action("b", body, head="async def"))
    for name in ("a", "b"):
        (event,) = run(actions, name).events
        assert (event["event"], event["name"], event["value"]) == ("slot", "seen", "friday")


def test_a_whole_tree_of_modules(tmp_path: Path):
    text = action("deep", "return []")
    actions = loaded(tmp_path, one=action("a", "return []"), sub__in____init__="", sub__in__two=text)
    assert set(actions.actions) == {"a", "deep"}


def test_a_folder_without_init_is_not_found_and_told(tmp_path: Path):
    actions = loaded(tmp_path, one=action("a", "return []"), sub__in__two=action("deep", "return []"))
    assert actions.missing(["a"]) is None
    finding = actions.missing(["deep", "a", "other"])
    assert finding is not None
    assert (finding.severity, finding.rule) == ("warning", "missing-action-class")
    assert "deep, other" in finding.message
    assert "__init__.py" in str(finding.hint)


def test_of_two_with_one_name_the_last_counts(tmp_path: Path):
    first, last = (action("a", f"dispatcher.utter_message(text='{text}')") for text in ("first", "last"))
    actions = loaded(tmp_path, one=first, two=last)
    assert run(actions).responses[0]["text"] == "last"


def test_classes_from_elsewhere_count_too_and_base_classes_do_not(tmp_path: Path):
    (tmp_path / "shared.py").write_text(HEAD + action("common", "return []") + "\nclass Base(Action):\n    pass\n")
    text = "from abc import ABC, abstractmethod\nfrom shared import Base, Common\n"
    text += "class Abstract(Action, ABC):\n    @abstractmethod\n    def more(self): ...\n"
    actions = loaded(tmp_path, one=text + action("a", "return []", kind="Base"))
    assert set(actions.actions) == {"common", "a"}
    assert run(actions) == ActionResult()


def test_form_validation_is_an_action(tmp_path: Path):
    text = "from rasa_sdk import FormValidationAction\n\n\nclass V(FormValidationAction):\n"
    text += "    def name(self):\n        return 'validate_day_form'\n\n"
    text += "    def validate_day(self, value, dispatcher, tracker, domain):\n        return {'day': value.upper()}\n"
    assert set(loaded(tmp_path, one=text).actions) == {"validate_day_form"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise KeyError('boom')", "KeyError: 'boom'"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("import asyncio; raise asyncio.CancelledError('mine')", "CancelledError: mine"),
        ("return 1 / 0", "ZeroDivisionError"),
        ("raise type('Own', (BaseException,), {})('x')", "Own: x"),
    ],
)
@pytest.mark.parametrize("head", ["def", "async def"])
def test_whatever_it_raises_is_a_failure_of_the_action(tmp_path: Path, body: str, reason: str, head: str):
    with pytest.raises(ActionFailed, match=reason):
        run(loaded(tmp_path, one=action("a", body, head=head)))


def test_our_own_interrupts_pass(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        run(loaded(tmp_path, one=action("a", "raise KeyboardInterrupt")))

    async def cancelled() -> None:
        body = "import asyncio; await asyncio.sleep(60)"
        task = asyncio.create_task(loaded(tmp_path, one=action("a", body, head="async def")).run("a", TRACKER))
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


def test_a_refusal(tmp_path: Path):
    body = "from rasa_sdk.interfaces import ActionExecutionRejection as R; raise R('a', 'not now')"
    with pytest.raises(ActionRejected, match="not now"):
        run(loaded(tmp_path, one=action("a", body)))


def test_an_unknown_action(tmp_path: Path):
    with pytest.raises(ActionFailed, match="Did you mean 'action_look'"):
        run(loaded(tmp_path, one=action("action_look", "pass")), "action_lok")


@pytest.mark.parametrize(
    ("body", "events", "warned"),
    [
        ("return None", 0, False),
        ("return []", 0, False),
        ("return SlotSet('a', 1)", 0, True),
        ("return [SlotSet('a', 1), 'text', {'name': 'no event'}, None]", 1, True),
        ("return (SlotSet('a', 1),)", 1, False),
    ],
)
def test_what_is_no_event_is_left_out(tmp_path: Path, caplog, body: str, events: int, warned: bool):
    assert len(run(loaded(tmp_path, one=action("a", body))).events) == events
    assert bool(caplog.messages) is warned


def test_prints_go_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    body = "print('while running'); return []"
    actions = loaded(tmp_path, one="print('while importing')\n" + action("a", body))
    run(actions)
    sys.stdout.write("ours\n")
    printed = capsys.readouterr()
    assert printed.out == "ours\n"
    assert printed.err == "while importing\nwhile running\n"


def test_blocks_may_overlap_in_any_way():
    before = sys.stdout
    first, second = kept_off_stdout(), kept_off_stdout()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert sys.stdout is sys.stderr
    second.__exit__(None, None, None)
    assert sys.stdout is before


@pytest.mark.parametrize(
    "text",
    [
        "import sys; sys.exit(1)\n",
        "class A(Action):\n    def __init__(self, needed): ...\n    def name(self): return 'a'\n",
        "class A(Action):\n    def __init__(self): raise SystemExit\n    def name(self): return 'a'\n",
    ],
)
def test_packages_that_cannot_be_loaded(tmp_path: Path, text: str):
    with pytest.raises(DataError, match=r"actions"):
        loaded(tmp_path, one=text)
