"""What a machine lacks for a recipe is said at once, before anything is loaded."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="training libraries are not installed")

from rasa_ft.errors import DataError, MissingRequirement
from rasa_ft.training import requirements
from rasa_ft.training.config import TrainingRecipe, load_recipe

EXAMPLES = Path(__file__).parents[2] / "examples" / "recipes"


@pytest.fixture(autouse=True)
def no_keys_and_no_gpu(monkeypatch):
    import torch

    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "HF_TOKEN", "HUGGINGFACE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def recipe(**values) -> TrainingRecipe:
    return TrainingRecipe.model_validate({"base_model": "./somewhere", **values})


def test_everything_that_is_missing_is_said_at_once():
    with pytest.raises(MissingRequirement) as caught:
        requirements.check(load_recipe(EXAMPLES / "function-calling-xlam.yml"))
    text = str(caught.value)
    assert "backend unsloth needs a CUDA GPU" in text
    assert "the optimiser adamw_8bit needs a CUDA GPU" in text
    assert "report_to wandb needs a key" in text
    assert "Set WANDB_API_KEY in the environment or in .env" in text
    for change in ("backend=peft", "training.optim=adamw_torch", "training.report_to=none"):
        assert f"--set {change}" in text


def test_missing_files_are_said_before_anything_is_loaded():
    with pytest.raises(DataError, match=r"oaast_sft_zh.json does not exist(.|\n)*docs/recipes.md"):
        requirements.check(load_recipe(EXAMPLES / "agent-glaive.yml"))


def test_4_bits_need_a_gpu_and_can_be_left():
    qlora = EXAMPLES / "chat-guanaco-qlora.yml"
    changes = ["base_model=./x", "training.optim=adamw_torch"]
    with pytest.raises(
        MissingRequirement, match=r"4 bits needs a CUDA GPU(.|\n)*--set quantization.load_in_4bit=false"
    ):
        requirements.check(load_recipe(qlora, changes))
    assert requirements.missing(load_recipe(qlora, [*changes, "quantization.load_in_4bit=false"])) == []


def test_on_a_gpu_packages_are_asked_for(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(requirements, "_is_installed", lambda package: False)
    found = requirements.missing(load_recipe(EXAMPLES / "function-calling-xlam.yml"))
    assert [one.what for one in found[:2]] == [
        "backend unsloth needs unsloth.",
        "the optimiser adamw_8bit needs bitsandbytes.",
    ]
    assert found[0].remedy == "pip install 'rasa_ft[gpu]'"


@pytest.mark.parametrize("variable", [("WANDB_API_KEY", "secret-key"), ("WANDB_MODE", "offline")])
def test_wandb_needs_a_key_or_no_network(monkeypatch, variable):
    monkeypatch.setattr(requirements, "_is_installed", lambda package: True)
    asked = recipe(training={"report_to": ["wandb", "tensorboard"]})
    assert [one.what for one in requirements.missing(asked)] == ["report_to wandb needs a key."]
    monkeypatch.setenv(*variable)
    assert requirements.missing(asked) == []


def test_trackers_without_a_key_need_their_package_only(monkeypatch):
    asked = recipe(training={"report_to": ["mlflow", "trackio"]})
    monkeypatch.setattr(requirements, "_is_installed", lambda package: False)
    assert [one.what for one in requirements.missing(asked)] == [
        "report_to mlflow needs mlflow.",
        "report_to trackio needs trackio.",
    ]
    monkeypatch.setattr(requirements, "_is_installed", lambda package: True)
    assert requirements.missing(asked) == []


def test_unknown_names_are_shown_together():
    wrong = {"optim": "adamw_troch", "lr_scheduler_type": "cosin", "report_to": "wandbee"}
    with pytest.raises(DataError) as caught:
        requirements.check(recipe(training=wrong))
    text = str(caught.value)
    assert "training.optim: there is no 'adamw_troch'. Did you mean 'adamw_torch'?" in text
    assert "training.lr_scheduler_type: there is no 'cosin'. Did you mean 'cosine'?" in text
    assert "training.report_to: there is no 'wandbee'. Did you mean 'wandb'?" in text


def test_the_other_name_of_the_hub_s_token(monkeypatch):
    import os

    monkeypatch.setenv("HUGGINGFACE_TOKEN", "hf_other")
    monkeypatch.setenv("HF_TOKEN", "")
    requirements.use_hub_token()
    assert os.environ["HF_TOKEN"] == "hf_other"
    monkeypatch.setenv("HF_TOKEN", "hf_first")
    requirements.use_hub_token()
    assert os.environ["HF_TOKEN"] == "hf_first"


class Hub(BaseHTTPRequestHandler):
    """Answers access checks as the hub does: by the name that is asked for."""

    def do_GET(self):
        gated, missing = "gated" in self.path, "unknown" in self.path
        self.send_response(403 if gated else 404 if missing else 200)
        if gated or missing:
            self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    import huggingface_hub
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "is_offline_mode", lambda: False)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("hub")
def test_gated_models_and_data_sets_are_found_out_first():
    with pytest.raises(
        MissingRequirement, match=r"base model org/gated-model is gated(.|\n)*Accept its(.|\n)*HF_TOKEN"
    ):
        requirements.check(recipe(base_model="org/gated-model"))
    gated = recipe(dataset={"train": [{"hub": "org/gated-rows"}]})
    with pytest.raises(MissingRequirement, match=r"data set org/gated-rows is gated(.|\n)*datasets/org/gated-rows"):
        requirements.check(gated)
    with pytest.raises(DataError, match=r"the hub has no base model org/unknown(.|\n)*HF_TOKEN"):
        requirements.check(recipe(base_model="org/unknown"))
    requirements.check(recipe(base_model="org/open", dataset={"train": [{"hub": "org/rows"}]}))


def test_a_hub_out_of_reach_says_nothing(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "is_offline_mode", lambda: False)
    requirements.check(recipe(base_model="org/model"))


def test_unsloth_gets_the_recipe_s_values(monkeypatch):
    """Against a stand-in: the real one needs CUDA."""
    import sys
    from types import SimpleNamespace

    from rasa_ft.training.backends import model_with_adapter

    seen = {}

    class FastLanguageModel:
        @staticmethod
        def from_pretrained(**arguments):
            seen.update(arguments)
            return "model", "tokenizer"

        @staticmethod
        def get_peft_model(model, **arguments):
            seen.update(arguments)
            return f"{model} with adapter"

    monkeypatch.setitem(sys.modules, "unsloth", SimpleNamespace(FastLanguageModel=FastLanguageModel))
    settings = load_recipe(EXAMPLES / "function-calling-xlam.yml")
    assert model_with_adapter(settings) == "model with adapter"
    assert (seen["model_name"], seen["max_seq_length"], seen["dtype"], seen["load_in_4bit"]) == (
        "unsloth/Meta-Llama-3.1-8B-Instruct",
        2048,
        None,
        False,
    )
    assert (seen["r"], seen["lora_alpha"], seen["random_state"], seen["use_gradient_checkpointing"]) == (
        16,
        16,
        3407,
        "unsloth",
    )
