"""Names in written suites that every reader of the format understands in the same way."""

from __future__ import annotations

from pathlib import Path

import pytest

from rasa_ft.e2e.cases import load_suite, write_suite
from rasa_ft.yaml_source import load_yaml

STUBBED = """\
stub_custom_actions:
  act: {{responses: [{{text: for all}}]}}
  ? "{key}::act"
  : {{responses: [{{text: for one}}]}}
test_cases:
- {{test_case: "{name}", steps: [{{user: hi}}]}}
- {{test_case: another, steps: [{{user: ho}}]}}
"""


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("two words", "two words"),
        ("the guest's stay: night #2 (late)", "the guest s stay night 2 late"),
        ("3 nights", "case 3 nights"),
        ("宿泊", "case"),
        ("another!", "another 2"),
    ],
)
def test_a_stub_can_refer_to_its_case(tmp_path: Path, name: str, written: str) -> None:
    (tmp_path / "a.yml").write_text(STUBBED.format(name=name, key=name.replace(" ", "_")))
    suite = load_suite(tmp_path / "a.yml")
    (file,) = write_suite(suite, tmp_path / "out" / "passed.yml")
    content = load_yaml(file)
    assert content["test_cases"][0]["test_case"] == written or name == "another!"
    scopes = {key.partition("::")[0] for key in content["stub_custom_actions"]}
    assert scopes == {case["test_case"].replace(" ", "_") for case in content["test_cases"]}
    again = load_suite(file)
    assert [(case.name, case.stubs) for case in again.cases] == [(case.name, case.stubs) for case in suite.cases]


def test_metadata_of_a_folder_has_one_meaning(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yml").write_text(
            f"metadata: [{{m: {{x: {name}}}}}, {{same: {{y: 1}}}}]\ntest_cases: [{{test_case: {name}, metadata: m, "
            f"steps: [{{user: hi, metadata: same}}]}}]\n"
        )
    suite = load_suite(tmp_path)
    files = write_suite(suite, tmp_path / "out")
    names = [[next(iter(entry)) for entry in load_yaml(file)["metadata"]] for file in files]
    assert names == [["m", "same"], ["m_2", "same"]]
    again = load_suite(tmp_path / "out")
    assert [case.case_metadata for case in again.cases] == [case.case_metadata for case in suite.cases]
