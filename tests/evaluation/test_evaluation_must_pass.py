from __future__ import annotations

import pytest

from rasa_ft.errors import UsageError
from rasa_ft.evaluation.must_pass import MustPass, check_names, judge_must_pass
from rasa_ft.evaluation.results import CaseOutcome

TESTED = (
    CaseOutcome("train", "train.yml::pays by card", True, flows=("pay",)),
    CaseOutcome("train", "train.yml::pays [late]", False, flows=("pay", "remind")),
    CaseOutcome("validation", "validation.yml::asks for help", True),
)
TESTS = [case.case for case in TESTED]


@pytest.mark.parametrize(
    ("name", "tests", "failed"),
    [
        ("train.yml::pays by card", [0], []),
        ("pays by card", [0], []),
        ("pay", [0, 1], [1]),
        ("pays*", [0, 1], [1]),
        ("*help", [2], []),
        # Said literally, brackets are no pattern.
        ("pays [late]", [1], [1]),
        ("validation.yml::*", [2], []),
        ("refund", [], []),
    ],
)
def test_names_of_tests_flows_and_patterns(name: str, tests: list[int], failed: list[int]) -> None:
    meant, missed = (tuple(TESTS[number] for number in numbers) for numbers in (tests, failed))
    assert judge_must_pass([name], TESTED) == (MustPass(name, meant, missed),)


def test_what_means_nothing_is_refused_with_the_nearest_name() -> None:
    flows = {"pay", "remind", "refund"}
    check_names(["pays by card", "train.yml::pays [late]", "re*", "refund"], TESTS, flows)
    with pytest.raises(UsageError, match=r"'refnd' must pass.*Did you mean 'refund'"):
        check_names(["refnd"], TESTS, flows)
    with pytest.raises(UsageError, match="Did you mean 'pays by card'"):
        check_names(["pays by a card"], TESTS, flows)
    with pytest.raises(UsageError, match=r"'zzz\*' must pass"):
        check_names(["zzz*"], TESTS, flows)
