"""The promise of prefix sharing: equal loss, equal gradients."""

import random

import pytest

torch = pytest.importorskip("torch", reason="training libraries are not installed")
pytest.importorskip("peft", reason="training libraries are not installed")

from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import LlamaForCausalLM  # noqa: E402

from rasa_ft.training import shared_loss  # noqa: E402
from rasa_ft.training.fast_layers import fast_layers  # noqa: E402
from rasa_ft.training.prefix_tree import TrainingRow  # noqa: E402
from rasa_ft.training.shared_loss import difference, is_equal  # noqa: E402


@pytest.fixture(scope="module")
def model(tiny_config):
    torch.manual_seed(0)
    adapted = get_peft_model(LlamaForCausalLM(tiny_config), LoraConfig(r=4, target_modules="all-linear"))
    return adapted.train()


def random_tree(seed: int) -> list[TrainingRow]:
    """Rows with a static part longer than a block of the attention, groups of unequal size, accidental overlaps."""
    dice = random.Random(seed)

    def tokens(low: int, high: int, kinds: int = 300) -> tuple[int, ...]:
        return tuple(dice.randrange(kinds) for _ in range(dice.randint(low, high)))

    static = tokens(0, 200)
    return [
        TrainingRow(static + turn + tokens(1, 6, kinds=3), tokens(1, 8, kinds=3), group)
        for group in range(dice.randint(1, 4))
        for turn in [tokens(0, 12)]
        for _ in range(dice.randint(1, 4))
    ]


@pytest.mark.parametrize("seed", range(8))
def test_loss_and_gradients_equal_plain_training(model, seed):
    by_loss, by_gradient = difference(model, random_tree(seed))
    assert by_loss < 1e-5
    assert by_gradient < 1e-5


@pytest.mark.parametrize("seed", range(4))
def test_and_so_they_do_with_fast_layers(model, seed):
    with fast_layers(model) as replaced:
        by_loss, by_gradient = difference(model, random_tree(seed))
    # two layers: 7 LoRA layers, 1 MLP and 2 norms each, and the last norm
    assert replaced == 21
    assert by_loss < 1e-5
    assert by_gradient < 1e-5


def test_fast_layers_compute_what_the_layers_compute(model):
    rows = random_tree(3)
    with shared_loss._nonzero_parameters(model):
        plain = shared_loss._loss_and_gradients(model, lambda: shared_loss.plain_loss(model, rows))
        with fast_layers(model):
            fast = shared_loss._loss_and_gradients(model, lambda: shared_loss.plain_loss(model, rows))
    assert fast[0] == pytest.approx(plain[0], rel=1e-6)
    for one, other in zip(plain[1], fast[1], strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-7)


def test_fast_layers_leave_the_model_as_it_was(model):
    with fast_layers(model):
        assert any("forward" in vars(module) for module in model.modules())
    assert not any("forward" in vars(module) for module in model.modules())


def test_dropout_keeps_peft_s_own_layer(tiny_config):
    adapted = get_peft_model(
        LlamaForCausalLM(tiny_config), LoraConfig(r=4, lora_dropout=0.5, target_modules="all-linear")
    )
    with fast_layers(adapted) as replaced:
        assert replaced == 7


def test_the_check_finds_a_wrong_mask(model, monkeypatch):
    rows = random_tree(1)
    assert is_equal(model, rows)[0]
    monkeypatch.setattr(
        shared_loss.attention, "_ancestors", lambda group, dtype: torch.zeros(2 * (len(group.parents),))
    )
    equal, figures = is_equal(model, rows)
    assert not equal
    assert "gradients" in figures


def test_the_check_leaves_no_trace(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    difference(model, random_tree(2))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_bf16_stays_within_the_tolerance(tiny_config):
    torch.manual_seed(0)
    adapted = get_peft_model(
        LlamaForCausalLM(tiny_config).to(torch.bfloat16), LoraConfig(r=4, target_modules="all-linear")
    )
    with fast_layers(adapted):
        assert is_equal(adapted, random_tree(0))[0]
