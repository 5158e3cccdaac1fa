"""Mistakes of a teacher at real places: most are found, and hardly anything right is taken for wrong."""

from __future__ import annotations

from collections import Counter

import pytest
from label_set.make import SIZE, WRONG, Item, example, load_items
from label_set.measure import Found, caught, false_alarms, findings


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return load_items()


@pytest.fixture(scope="module")
def found(items: list[Item]) -> list[Found]:
    return findings(*example(), items)


def test_the_set_is_what_it_says(items: list[Item]) -> None:
    wrong = [item for item in items if item.wrong]
    assert (len(items), len(wrong)) == (SIZE, WRONG)
    assert set(Counter(item.wrong for item in wrong).values()) <= {WRONG // 3, WRONG // 3 + 1}
    assert WRONG / 4 < sum(item.blind for item in wrong) < WRONG / 2
    assert all(item.answer != item.says for item in wrong if item.blind)
    assert all(item.answer == item.says for item in items if not item.wrong)


def test_with_default_settings(found: list[Found]) -> None:
    assert caught(found) >= 0.9
    assert false_alarms(found) <= 0.02


def test_what_no_comparison_can_see(found: list[Found]) -> None:
    blind = [one for one in found if one.item.blind]
    assert sum(one.by is not None for one in blind) >= 0.7 * len(blind)
    assert all(one.by != "comparison" for one in blind)
