from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path

import pytest

from rasa_ft.errors import DataError, MissingRequirement
from rasa_ft.llm import local_embeddings
from rasa_ft.llm.embeddings import build_embedder, embedding_group
from rasa_ft.llm.local_embeddings import LocalEmbedder, is_installed, model_folder, weights_identity
from rasa_ft.llm.vectors import VectorStore

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "book", "a", "desk", "cancel", "it"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence model with random weights, in the format of sentence-transformers."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def vectors(name: object, *texts: str, project: Path = Path()) -> list[list[float]]:
    return asyncio.run(LocalEmbedder(str(name), project=project).embed(texts))


def described(tiny: Path, folder: Path, *modules: str, **pooling: bool) -> Path:
    """A copy of the model whose files say how vectors are made."""
    folder.mkdir()
    for file in tiny.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    types = [{"type": f"sentence_transformers.models.{module}"} for module in ("Transformer", "Pooling", *modules)]
    (folder / "modules.json").write_text(json.dumps(types))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 4}')
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{name}": value for name, value in pooling.items()}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 8, **modes}))
    return folder


def test_vectors_do_not_depend_on_their_neighbours(tiny: Path) -> None:
    alone = vectors(tiny, "book a desk")[0]
    among = vectors(tiny, "it", "book a desk", "cancel it a desk book a desk", *["a"] * 40)[1]
    assert among == pytest.approx(alone, abs=1e-5)
    assert math.hypot(*alone) == pytest.approx(1, abs=1e-5)


def test_the_folder_says_how(tiny: Path, tmp_path: Path) -> None:
    mean = described(tiny, tmp_path / "mean", mean_tokens=True, cls_token=False)
    first = described(tiny, tmp_path / "first", "Normalize", cls_token=True, mean_tokens=False)
    texts = ("book a desk", "book a cancel cancel")
    assert math.hypot(*vectors(mean, *texts)[0]) != pytest.approx(1, abs=1e-3)  # not normalised
    assert math.hypot(*vectors(first, *texts)[0]) == pytest.approx(1, abs=1e-5)
    # Four tokens, [CLS] and [SEP] counted: what comes after the second word is not seen.
    assert vectors(mean, "book a desk") == vectors(mean, "book a cancel") != vectors(mean, "book desk")


def test_parts_that_are_not_supported(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not supported: Dense"):
        vectors(described(tiny, tmp_path / "dense", "Dense", mean_tokens=True), "x")
    with pytest.raises(DataError, match="pooling_mode_max_tokens"):
        vectors(described(tiny, tmp_path / "max", max_tokens=True), "x")
    with pytest.raises(DataError, match="pooling_mode_mean_tokens, pooling_mode_cls_token"):
        vectors(described(tiny, tmp_path / "both", mean_tokens=True, cls_token=True), "x")


def test_where_a_model_is_looked_for(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_folder(tiny.name, tiny.parent) == tiny
    assert model_folder("nowhere", tiny.parent) is None
    with pytest.raises(DataError, match=r"config\.json is missing"):
        vectors("./nowhere", "x", project=tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be loaded"):
        vectors(broken, "x")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingRequirement, match="cannot be had from the hub"):
        vectors("no-such-model-here", "x", project=tmp_path)


def test_replaced_weights_are_another_model(tiny: Path, tmp_path: Path) -> None:
    folder = described(tiny, tmp_path / "model", mean_tokens=True)
    before = weights_identity("model", tmp_path)
    assert len(before) == 2
    (folder / "model.safetensors").write_bytes(b"other")
    assert weights_identity("model", tmp_path) != before
    assert weights_identity("hub/name", tmp_path) == []


def test_without_the_libraries(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingRequirement, match=r"need torch and transformers.\n  pip install 'rasa_ft\[retrieval\]'"):
        vectors(tiny, "x")


@pytest.mark.skipif(not is_installed(), reason=f"needs the wheel {local_embeddings.WHEEL}")
def test_the_real_model_knows_what_is_alike(tmp_path: Path) -> None:
    store = VectorStore(tmp_path / "vectors.sqlite")
    written = {"provider": "huggingface_local", "model": "sentence-transformers/all-MiniLM-L6-v2"}
    embedder = build_embedder(embedding_group(written, {}), project=tmp_path, store=store)
    texts = ["I want to reserve a desk", "book a place to work", "the moon orbits the earth"]
    desk, place, moon = asyncio.run(embedder.embed(texts))

    def likeness(one: list[float], other: list[float]) -> float:
        return sum(a * b for a, b in zip(one, other, strict=True))

    assert len(desk) == 384
    assert likeness(desk, desk) == pytest.approx(1, abs=1e-5)
    assert likeness(desk, place) > likeness(desk, moon) + 0.2
    assert len(store) == 3
