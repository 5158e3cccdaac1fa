"""Cases of many files in one file remember where they come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from rasa_ft.e2e.cases import load_suite, write_suite

FILE = """\
fixtures: [{{guest: [{{tier: {name}}}]}}]
metadata: [{{web: {{channel: {name}}}}}]
test_cases:
- {{test_case: stays, fixtures: [guest], metadata: web, steps: [{{user: hi}}]}}
"""
COPY = """\
test_cases:
  {comment}
  - test_case: stays 2
    steps: [{{user: hi}}]
  # from: b.yml::leaves
  - test_case: leaves
    steps: [{{user: bye}}]
"""


@pytest.fixture
def collected(tmp_path: Path) -> Path:
    """One file with the cases of two."""
    for name in ("a", "sub/b"):
        file = tmp_path / f"tests/{name}.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(FILE.format(name=name))
    (file,) = write_suite(load_suite(tmp_path / "tests"), tmp_path / "out/passed.yml")
    return file


def test_what_is_written(collected: Path) -> None:
    text = collected.read_text()
    assert "  - guest:\n" in text and "  # was: guest\n  - guest_2:\n" in text and "  # was: web\n  - web_2:\n" in text
    assert "  # from: a.yml::stays\n  - test_case: stays\n" in text
    assert "  # from: sub/b.yml::stays\n  - test_case: stays 2\n" in text


def test_cases_are_those_of_their_files_at_a_place_of_this_one(collected: Path) -> None:
    first, second = load_suite(collected).cases
    assert [case.id for case in (first, second)] == ["a.yml::stays", "sub/b.yml::stays"]
    assert (second.source, second.name, second.file) == ("sub/b.yml", "stays", collected)
    assert "test_case: stays 2" in collected.read_text().splitlines()[second.location.line - 1]
    assert [case.fixture_sets[0].name for case in (first, second)] == ["guest", "guest"]


def test_both_names_can_be_asked_for(collected: Path) -> None:
    assert [case.id for case in load_suite(f"{collected}::stays 2").cases] == ["sub/b.yml::stays"]
    assert len(load_suite(f"{collected}::stays").cases) == 2


def test_the_folder_is_there_again(collected: Path, tmp_path: Path) -> None:
    again = write_suite(load_suite(collected), tmp_path / "again")
    assert [file.relative_to(tmp_path / "again").as_posix() for file in again] == ["a.yml", "sub/b.yml"]
    assert "guest_2" not in again[1].read_text() and "# from" not in again[1].read_text()
    assert [case.key for case in load_suite(tmp_path / "again").cases] == ["a.yml::stays", "sub/b.yml::stays"]


def test_originals_beside_their_copies_keep_apart(collected: Path, tmp_path: Path) -> None:
    write_suite(load_suite(tmp_path / "tests"), tmp_path / "tests/sub/passed.yml")
    keys = [case.key for case in load_suite(tmp_path / "tests").cases]
    assert keys == ["a.yml::stays", "sub/b.yml::stays", "sub/passed.yml::stays", "sub/passed.yml::stays 2"]
    twice = "test_cases:\n" + "# from: b.yml::x\n- {test_case: x, steps: [{user: hi}]}\n" * 2
    (tmp_path / "twice.yml").write_text(twice)
    assert [case.key for case in load_suite(tmp_path / "twice.yml").cases] == ["b.yml::x", "twice.yml::x 2"]


@pytest.mark.parametrize(
    "comment",
    [
        "# from: ../../b.yml::stays",
        "# from: /etc/b.yml::stays",
        "# from: C:b.yml::stays",
        "# from: a\\b.yml::stays",
        "# from: b.txt::stays",
        "# from: b.yml::",
        "# from: b.yml",
        "# from: ::stays",
        '# from: "b.yml::stays',
        '# from: "b\\u0000.yml::stays"',
        "# from:",
        "# taken from: b.yml::stays",
        "#  from: b.yml::stays",
        "  # from: b.yml::stays",
        "# from: b.yml::stays\n",
    ],
)
def test_what_cannot_be_is_not_believed(tmp_path: Path, comment: str) -> None:
    file = tmp_path / "passed.yml"
    file.write_text(COPY.format(comment=comment))
    assert [case.key for case in load_suite(file).cases] == ["passed.yml::stays 2", "b.yml::leaves"]


def test_old_names_of_fixtures_must_be_names(tmp_path: Path) -> None:
    fixtures = "fixtures:\n# was: no name\n- f: [{x: 1}]\n# was: g\n- f_2: [{x: 2}]\n"
    (tmp_path / "t.yml").write_text(
        f"{fixtures}test_cases: [{{test_case: a, fixtures: [f, f_2], steps: [{{user: a}}]}}]\n"
    )
    (case,) = load_suite(tmp_path / "t.yml").cases
    assert [(fixture.name, fixture.slots) for fixture in case.fixture_sets] == [("f", (("x", 1),)), ("g", (("x", 2),))]
