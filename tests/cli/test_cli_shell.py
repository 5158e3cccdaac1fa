"""`rasa shell`: what it shows, and conversations that become tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from desk_assistant import DESK

from rasa_ft.cli.main import run
from rasa_ft.cli.shell_debug import folded
from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.model import SlotWasSetStep, UtterStep

BOT = Path(__file__).parents[2] / "examples/bot"
BOOKING = ("I want to book a train to Stirling", "never mind, I'll drive", "/stop")

Type = Callable[..., None]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Type:
    """Answers every prompt with the next line; an exception is raised."""

    def type_in(*lines: str | type[BaseException]) -> None:
        rest = iter(lines)

        def answer(_: str) -> str:
            line = next(rest)
            if isinstance(line, type):
                raise line
            return line

        monkeypatch.setattr("builtins.input", answer)

    return type_in


def shell(*words: str) -> int:
    return run(["shell", "--project", str(BOT), *words])


# --- debug -----------------------------------------------------------------------------------------------------------


def test_debug_shows_each_turn_from_the_inside(type_in: Type, capsys: pytest.CaptureFixture[str]) -> None:
    type_in(*BOOKING)
    assert shell("--debug") == 0
    out, err = capsys.readouterr()
    assert out.startswith("bot: Which station") and "──" not in out
    first, second = err.split("── prompt (")[1:]
    assert "start flow book_ticket" in first.split("── commands")[1]
    assert "flow started: book_ticket" in first.split("── events")[1]
    assert "slot: destination = " in first
    stack = first.split("── stack, top first\n")[1].splitlines()
    assert stack[0].startswith("   pattern_collect_information at ") and "collect: " in stack[0]
    assert stack[1].startswith("   book_ticket at ") and stack[1].endswith("(regular)")
    # The second prompt is mostly the first.
    assert "lines as before" in second and "lines as before" not in first
    assert len(second.splitlines()) < len(first.splitlines())


def test_debug_of_a_button(type_in: Type, capsys: pytest.CaptureFixture[str]) -> None:
    type_in("/SetSlots(destination=Leeds)", EOFError)
    assert shell("--debug") == 0
    assert "── prompt\n   (no model was asked)" in capsys.readouterr().err


def test_without_debug_only_what_was_asked_for(type_in: Type, capsys: pytest.CaptureFixture[str]) -> None:
    type_in(*BOOKING)
    assert shell("--show-commands") == 0
    err = capsys.readouterr().err
    assert "start flow book_ticket" in err and "──" not in err


def test_folding() -> None:
    lines = [f"line {number}" for number in range(20)]
    changed = [*lines[:9], "new", *lines[10:]]
    assert list(folded("\n".join(lines), None)) == lines
    assert list(folded("\n".join(changed), "\n".join(lines))) == [
        "⋮ 8 lines as before",
        "line 8",
        "new",
        "line 10",
        "⋮ 9 lines as before",
    ]
    assert list(folded("\n".join(lines), "\n".join(lines))) == ["⋮ 20 lines as before"]
    assert list(folded("a\nb", "a\nb")) == ["a", "b"]


# --- record ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["cancellations", "corrections", "digressions", "clarifications"])
def test_what_is_recorded_passes(file: str, type_in: Type, capsys: pytest.CaptureFixture[str]) -> None:
    cases = [case for case in load_suite(BOT / "e2e_tests" / f"{file}.yml").cases if not case.fixtures][:2]
    for case in cases:
        type_in(*(step.text for step in case.user_steps), "/stop")
        assert shell("--record", "tests/recorded.yml") == 0
        assert "Written: tests/recorded.yml::" in capsys.readouterr().err
    recorded = load_suite("tests/recorded.yml").cases
    assert len(recorded) == len(cases)
    for case, original in zip(recorded, cases, strict=True):
        assert [step.text for step in case.user_steps] == [step.text for step in original.user_steps]
        assert any(isinstance(step, UtterStep) for step in case.steps)
    assert run(["test", "e2e", "tests/recorded.yml", "--project", str(BOT)]) == 0


def test_recording_again_adds_a_case(elsewhere: Path, type_in: Type) -> None:
    for _ in range(2):
        type_in(*BOOKING)
        assert shell("--record", "t.yml") == 0
    names = [case.name for case in load_suite("t.yml").cases]
    assert names == [BOOKING[0], f"{BOOKING[0]} 2"]
    steps = load_suite("t.yml").cases[0].steps
    assert any(isinstance(step, SlotWasSetStep) and step.slot == "destination" for step in steps)
    assert run(["test", "e2e", "t.yml", "--project", str(BOT)]) == 0
    assert [file.name for file in elsewhere.iterdir()] == ["t.yml"]


def test_an_interrupted_conversation_is_kept(type_in: Type, capsys: pytest.CaptureFixture[str]) -> None:
    type_in(BOOKING[0], "", KeyboardInterrupt)
    assert shell("--record", "t.yml") == 130
    assert "Written: t.yml::" in capsys.readouterr().err
    assert [step.text for step in load_suite("t.yml").cases[0].user_steps] == [BOOKING[0]]


def test_a_message_without_an_answer_is_taken_back(type_in: Type, capsys: pytest.CaptureFixture[str]) -> None:
    type_in(BOOKING[0], "blah blub", BOOKING[1], "/stop")
    assert shell("--record", "t.yml") == 0
    assert "The message is taken back." in capsys.readouterr().err
    assert [step.text for step in load_suite("t.yml").cases[0].user_steps] == [*BOOKING[:2]]
    assert run(["test", "e2e", "t.yml", "--project", str(BOT)]) == 0


def test_nothing_said_nothing_written(elsewhere: Path, type_in: Type, capsys: pytest.CaptureFixture[str]) -> None:
    type_in("/stop")
    assert shell("--record", "t.yml") == 0
    assert "Nothing was said" in capsys.readouterr().err and not (elsewhere / "t.yml").exists()


def test_a_file_that_cannot_be_used_is_told_before(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "t.yml").write_text("flows: {}\n")
    assert shell("--record", "t.yml") == 1  # nobody types anything
    assert "t.yml:1: unknown key 'flows'" in capsys.readouterr().err
    assert shell("--record", "t.txt") == 1


def test_metadata_and_payloads(type_in: Type) -> None:
    type_in("/SetSlots(destination=Leeds)", "/quit")
    assert shell("--record", "t.yml", "--metadata", '{"channel": "app"}') == 0
    case = load_suite("t.yml").cases[0]
    assert case.name == "recorded conversation"
    assert case.user_steps[0].metadata == {"channel": "app"}
    assert run(["test", "e2e", "t.yml", "--project", str(BOT)]) == 0


@pytest.mark.parametrize("metadata", ["{", "[]", '{"a b": 1}'])
def test_metadata_must_be_an_object(metadata: str) -> None:
    assert run(["shell", "--project", str(DESK), "--metadata", metadata]) == 2
