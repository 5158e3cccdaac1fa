"""A look at validation rows: which are asked, what counts as exact, and which of two looks is the better one."""

import pytest

from rasa_ft.training.prefix_tree import TrainingRow
from rasa_ft.training.validation import Examination, Validation, sample


def rows_of(turns, wordings):
    return [TrainingRow((turn,), (wording,), turn) for turn in range(turns) for wording in range(wordings)]


def test_one_wording_of_turns_spread_over_the_set():
    assert sample(rows_of(3, 2), 48) == [TrainingRow((turn,), (0,), turn) for turn in range(3)]
    assert [row.group for row in sample(rows_of(10, 2), 4)] == [0, 2, 5, 7]
    assert sample([], 4) == []


def test_exact_answers_count_before_the_loss():
    order = [
        Validation(10, 9.0, 4),
        Validation(10, 0.0, 3),
        Validation(10, 0.5, 3),
        Validation(10, 0.6, 3),
        Validation(10, 0.1, 0),
        Validation(10, 0.2, None),
    ]
    assert sorted(order, key=lambda one: one.score, reverse=True) == order
    assert [one.exact_share for one in order[::5]] == [0.4, None]


@pytest.fixture
def model(tiny_base):
    torch = pytest.importorskip("torch", reason="training libraries are not installed")
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).train()


@pytest.mark.parametrize("generate", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_answers_are_compared_with_what_the_model_says(model, tiny_tokenizer, shared, generate):
    """Rows that the model itself answered, every other one spoilt, and one that is longer than what is generated."""
    from contextlib import nullcontext

    from rasa_ft.training.probe import greedy_answers
    from rasa_ft.training.shared_loss import shared_attention

    prompts = [(3, 4, 5, *range(6, 6 + extra)) for extra in range(1, 7)]
    answers = greedy_answers(model, prompts, end=-1, max_new_tokens=4)
    rows = [
        TrainingRow(prompt, (*answer[:3], answer[3] + index % 2), index)
        for index, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
    ]
    rows.append(TrainingRow(prompts[0], (*answers[0], 7), 9))
    settings = {"end": -1, "max_new_tokens": 4, "shared": shared, "generate": generate}
    before = model.config._attn_implementation
    with shared_attention(model) if shared else nullcontext():
        found = Examination(rows, tiny_tokenizer, **settings).of(model)
        nothing = Examination(rows[-1:], tiny_tokenizer, **settings).of(model)
    assert (found.rows, found.exact, nothing.exact) == (7, 3, None)
    assert found.loss > 0
    assert (model.training, model.config._attn_implementation) == (True, before)
