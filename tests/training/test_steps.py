from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.training.steps import TurnSampler

groups = st.lists(st.integers(0, 9), min_size=1, max_size=40)


@given(groups, st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_an_epoch_shows_every_row_once_in_handfuls_of_a_group(groups, per_step, wordings, seed):
    sampler = TurnSampler(groups, groups_per_step=per_step, wordings=wordings, seed=seed)
    steps = list(sampler)
    assert len(steps) == len(sampler)
    assert sorted(row for step in steps for row in step) == list(range(len(groups)))
    assert all(len(step) <= per_step * wordings for step in steps)


def test_a_large_group_is_seen_as_often_as_its_rows_deserve():
    groups = ["opening"] * 40 + [f"turn {number}" for number in range(40)]
    sampler = TurnSampler(groups, groups_per_step=4, wordings=1, seed=1)
    half = list(sampler)[: len(sampler) // 2]
    assert Counter(groups[row] for step in half for row in step)["opening"] > 10


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


@given(groups, st.integers(1, 3), st.integers(1, 3), st.integers(2, 4), st.integers(0, 99))
def test_processes_divide_the_steps_of_one_with_larger_steps(groups, per_step, wordings, processes, seed):
    one = TurnSampler(groups, groups_per_step=per_step * processes, wordings=wordings, seed=seed)
    several = [
        TurnSampler(
            groups, groups_per_step=per_step, wordings=wordings, seed=seed, processes=processes, process=process
        )
        for process in range(processes)
    ]
    assert {len(sampler) for sampler in several} == {len(one)}
    for step, *parts in zip(one, *several, strict=True):
        assert sorted(row for part in parts for row in part) == sorted(step)
        assert all(len(part) <= per_step * wordings for part in parts)
