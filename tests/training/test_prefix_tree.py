import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.training.prefix_tree import PackedStep, TrainingRow, pack, shared_length

tokens = st.lists(st.integers(0, 3), min_size=1, max_size=6).map(tuple)
rows = st.lists(st.builds(TrainingRow, tokens, tokens, st.integers(0, 3)), min_size=1, max_size=8)


def paths(step: PackedStep) -> dict[int, tuple[int, ...]]:
    """For every packed token all token ids from the start of its row up to itself."""
    seen = {index: step.input_ids[: index + 1] for index in range(step.prefix_length)}
    prefix = step.input_ids[: step.prefix_length]
    for group in step.groups:
        for offset, parent in enumerate(group.parents):
            before = seen[group.start + parent] if parent >= 0 else prefix
            seen[group.start + offset] = (*before, step.input_ids[group.start + offset])
    return seen


@given(rows)
def test_every_label_is_predicted_from_exactly_its_own_row(rows):
    step = pack(rows)
    seen = paths(step)
    learned = sorted((seen[at], label) for at, label in zip(step.label_positions, step.label_ids, strict=True))
    assert [rows[row].completion for row in dict.fromkeys(step.label_rows)] == [
        tuple(label for label, of in zip(step.label_ids, step.label_rows, strict=True) if of == row)
        for row in dict.fromkeys(step.label_rows)
    ]
    assert learned == sorted(
        (row.tokens[:cut], row.tokens[cut]) for row in rows for cut in range(len(row.prompt), len(row.tokens))
    )


@given(rows)
def test_positions_count_the_tokens_before(rows):
    step = pack(rows)
    assert list(step.position_ids) == [len(path) - 1 for _, path in sorted(paths(step).items())]


@given(rows)
def test_within_prefix_and_group_nothing_is_computed_twice(rows):
    step = pack(rows)
    seen = paths(step)
    for group in step.groups:
        own = [seen[index] for index in range(group.start, group.end)]
        assert len(set(own)) == len(own)
    assert len({row.group for row in rows}) == len(step.groups)
    assert step.row_tokens == sum(len(row.tokens) for row in rows) >= len(step.input_ids)


def test_three_levels():
    static, turn = (1, 2, 3), (4, 5)
    step = pack(
        [
            TrainingRow((*static, *turn, 6), (9,), "a"),
            TrainingRow((*static, *turn, 7), (9,), "a"),
            TrainingRow((*static, 8), (9,), "b"),
        ]
    )
    assert step.input_ids == (1, 2, 3, 4, 5, 6, 9, 7, 9, 8, 9)
    assert step.position_ids == (0, 1, 2, 3, 4, 5, 6, 5, 6, 3, 4)
    assert [(group.start, group.parents) for group in step.groups] == [(3, (-1, 0, 1, 2, 1, 4)), (9, (-1, 0))]
    assert (step.label_positions, step.label_ids) == ((5, 7, 9), (9, 9, 9))


@pytest.mark.parametrize("rows", [[], [TrainingRow((), (1,))], [TrainingRow((1,), ())]])
def test_rows_need_both_sides(rows):
    with pytest.raises(ValueError, match="prompt and a completion"):
        pack(rows)


@given(st.lists(tokens, min_size=1))
def test_shared_length(sequences):
    length = shared_length(sequences)
    assert len({sequence[:length] for sequence in sequences}) == 1
    assert all(len(sequence) >= length for sequence in sequences)
    assert len({sequence[: length + 1] for sequence in sequences}) > 1 or length == min(map(len, sequences))
