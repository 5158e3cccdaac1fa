from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.training.steps import TurnSampler

groups = st.lists(st.integers(0, 9), min_size=1, max_size=40)


@given(groups, st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_an_epoch_visits_every_group_once(groups, per_step, wordings, seed):
    sampler = TurnSampler(groups, groups_per_step=per_step, wordings=wordings, seed=seed)
    steps = list(sampler)
    assert len(steps) == len(sampler)
    visited = [group for step in steps for group in {groups[row] for row in step}]
    assert sorted(visited) == sorted(set(groups))
    assert all(len(set(step)) == len(step) for step in steps)
    assert max(Counter(groups[row] for step in steps for row in step).values()) <= wordings


def test_all_wordings_come_up_equally_often():
    groups = ["a"] * 4 + ["b"] * 2
    sampler = TurnSampler(groups, groups_per_step=2, wordings=2, seed=1)
    seen: Counter[int] = Counter()
    for epoch in range(8):
        sampler.set_epoch(epoch)
        seen.update(row for step in sampler for row in step)
    assert [seen[row] for row in range(6)] == [4, 4, 4, 4, 8, 8]


def test_order_depends_on_seed_and_epoch_only():
    def order(seed: int, epoch: int) -> list[list[int]]:
        sampler = TurnSampler(list(range(20)) * 3, groups_per_step=3, wordings=2, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(2, 0)
    assert order(1, 0) != order(1, 1)


def test_groups_of_different_parts_do_not_meet():
    groups = [row // 2 for row in range(20)]
    parts = [row // 10 for row in range(20)]
    steps = list(TurnSampler(groups, groups_per_step=4, wordings=2, seed=0, parts=parts))
    assert all(len({parts[row] for row in step}) == 1 for step in steps)
    assert sorted(row for step in steps for row in step) == list(range(20))
