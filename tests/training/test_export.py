"""A tuned model in each form computes the same, is complete, and replaces nothing but an earlier export."""

import json
import random
import shutil
from pathlib import Path

import pytest

pytest.importorskip("peft", reason="training libraries are not installed")

from rasa_ft.errors import DataError, MissingRequirement, UsageError
from rasa_ft.training.base_models import SMOLLM2, load_model, load_tokenizer
from rasa_ft.training.export.merged import (
    check_mergeable,
    load_with_adapter,
    merge,
    mergeable,
    save_adapter,
    save_merged,
    save_model,
)
from rasa_ft.training.export.write import ExportSettings, export
from rasa_ft.training.model_card import MANIFEST
from rasa_ft.training.probe import greedy_answers
from rasa_ft.training.tokens import end_token_id, prompt_ids

KINDS = {
    "lora": {},
    "rank-stabilised": {"use_rslora": True},
    "dora": {"use_dora": True},
    "with-output-layer": {"modules_to_save": ["lm_head"]},
}


@pytest.fixture
def make_run(tiny_base, tiny_tokenizer, tmp_path):
    """Builds what a training leaves, with an adapter of random weights."""

    def build(name: str = "tuned", base: Path = tiny_base) -> Path:
        run = tmp_path / name
        model = with_random_adapter(str(base), r=4)
        save_adapter(model, tiny_tokenizer, run / "adapter")
        save_merged(model, tiny_tokenizer, end_token_id(tiny_tokenizer), run / "merged")
        (run / "student_prompt.jinja2").write_text("Write commands.\n", encoding="utf-8")
        (run / MANIFEST).write_text(json.dumps({"kind": "training", "recipe": {"base_model": str(base)}}))
        return run

    return build


def with_random_adapter(base: str, *, dtype: str = "float32", **settings):
    """An adapter whose update is as large as the weights, so that nobody can overlook it."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    config = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", init_lora_weights=False, **settings)
    model = get_peft_model(load_model(base, dtype=dtype), config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "modules_to_save" in name:
                weight.add_(torch.randn_like(weight) * weight.std())
    return model


def random_prompts(count: int) -> list[tuple[int, ...]]:
    dice = random.Random(0)
    return [tuple(dice.randrange(2, 250) for _ in range(dice.randrange(3, 30))) for _ in range(count)]


@pytest.mark.parametrize("kind", KINDS)
def test_merged_and_adapter_answer_alike(kind, tiny_base, tiny_tokenizer, tmp_path):
    settings = KINDS[kind]
    prompts = random_prompts(50)
    adapted = with_random_adapter(str(tiny_base), **settings)
    wanted = greedy_answers(adapted, prompts, end=1, max_new_tokens=8)
    untuned = greedy_answers(load_model(str(tiny_base), dtype="float32").eval(), prompts, end=1, max_new_tokens=8)
    assert sum(one != other for one, other in zip(wanted, untuned, strict=True)) > 40

    merged = merge(adapted)
    save_model(merged, tiny_tokenizer, 1, tmp_path / "merged", max_shard_size="20KB")
    loaded = load_model(str(tmp_path / "merged"), dtype="float32").eval()
    assert greedy_answers(loaded, prompts, end=1, max_new_tokens=8) == wanted


@pytest.mark.slow
@pytest.mark.usefixtures("smollm2_wheel")
def test_merged_and_adapter_of_the_real_model_answer_alike(tmp_path):
    """In fp32, on 200 short prompts; the update is small enough that the model still says words."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    some = ["q_proj", "v_proj", "down_proj"]
    config = LoraConfig(task_type="CAUSAL_LM", r=8, target_modules=some, init_lora_weights=False)
    model = get_peft_model(load_model(SMOLLM2, dtype="float32"), config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.mul_(0.05)
    tokenizer = load_tokenizer(SMOLLM2)
    dice = random.Random(0)
    words = ["book", "cancel", "find", "train", "ticket", "hotel", "York", "Leeds", "today", "two", "yes", "no"]
    messages = [" ".join(dice.choices(words, k=dice.randrange(1, 6))) for _ in range(200)]
    prompts = [
        prompt_ids(tokenizer, [{"role": "system", "content": "x"}, {"role": "user", "content": text}])
        for text in messages
    ]
    end = end_token_id(tokenizer)
    wanted = greedy_answers(model, prompts, end=end, max_new_tokens=8)
    with model.disable_adapter():
        untuned = greedy_answers(model, prompts[:5], end=end, max_new_tokens=8)
    assert untuned != wanted[:5]
    assert greedy_answers(merge(model), prompts, end=end, max_new_tokens=8) == wanted


def test_weights_and_update_are_added_before_they_are_rounded(tiny_base):
    import torch

    model = with_random_adapter(str(tiny_base), dtype="bfloat16", r=4)
    layer = next(layer for layer in model.modules() if hasattr(layer, "lora_A") and hasattr(layer, "get_delta_weight"))
    exact = layer.get_base_layer().weight.data.float() + layer.get_delta_weight("default").float()
    merged = merge(model)
    got = merged.model.layers[0].self_attn.q_proj.weight
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, exact.to(torch.bfloat16))


def test_the_adapter_is_stored_in_16_bits(make_run):
    import torch
    from safetensors.torch import load_file

    weights = load_file(make_run() / "adapter" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}


def test_weights_in_shards(make_run, tmp_path):
    written = export(make_run(), tmp_path / "out", ExportSettings("merged-16bit", max_shard_size="20KB"))
    shards = list((tmp_path / "out").glob("model-*.safetensors"))
    assert len(shards) > 1
    # A file holds at least one tensor whole.
    assert all(shard.stat().st_size < 25_000 for shard in shards)
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == {shard.name for shard in shards}
    assert written.size == sum(
        file.stat().st_size for file in (tmp_path / "out").iterdir() if file.name != "export.json"
    )
    assert load_tokenizer(str(tmp_path / "out")).chat_template
    settings = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert (settings["eos_token_id"], settings["do_sample"]) == (1, False)


def test_without_the_merged_model_it_is_made_from_the_adapter(make_run, tmp_path):
    import torch

    run = make_run()
    export(run, tmp_path / "from-merged", ExportSettings("merged-16bit"))
    shutil.rmtree(run / "merged")
    export(run, tmp_path / "from-adapter", ExportSettings("merged-16bit"))
    one, other = (
        load_model(str(tmp_path / name), dtype="float32").state_dict() for name in ("from-merged", "from-adapter")
    )
    # The adapter was rounded to 16 bits in between.
    assert all(torch.allclose(one[name], other[name], rtol=2e-2, atol=2e-3) for name in one)


def test_everything_that_serving_needs_goes_along(make_run, tmp_path, tiny_base):
    run = make_run()
    for form in ("adapter", "merged-16bit"):
        out = tmp_path / form
        export(run, out, ExportSettings(form))
        names = {file.name for file in out.iterdir()}
        assert {"README.md", "student_prompt.jinja2", "manifest.json", "export.json", "chat_template.jinja"} <= names
        index = json.loads((out / "export.json").read_text())
        assert set(index["files"]) == names - {"export.json"}
        assert {oct(file.stat().st_mode)[-3:] for file in out.iterdir()} == {"644"}
        for name in ("README.md", "manifest.json", "export.json"):
            assert str(tiny_base) not in (out / name).read_text()


def test_an_exported_adapter_names_its_base_as_the_hub_does(make_run, tmp_path):
    run = make_run()
    (run / MANIFEST).write_text(json.dumps({"recipe": {"base_model": "org/base"}}))
    export(run, tmp_path / "out", ExportSettings("adapter"))
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "org/base"


def test_an_export_replaces_an_earlier_one_and_nothing_else(make_run, tmp_path):
    run, out = make_run(), tmp_path / "out"
    export(run, out, ExportSettings("adapter"))
    export(run, out, ExportSettings("merged-16bit"))
    assert not (out / "adapter_config.json").exists()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("…")
    for other in (precious, run, run / "merged"):
        with pytest.raises(UsageError, match="Choose another folder"):
            export(run, other, ExportSettings("adapter"))
    assert (precious / "thesis.txt").is_file()


def test_a_failed_export_leaves_the_earlier_one(make_run, tmp_path):
    run, out = make_run(), tmp_path / "out"
    export(run, out, ExportSettings("adapter"))
    (run / "adapter" / "adapter_model.safetensors").write_bytes(b"broken")
    with pytest.raises(Exception, match=r"."):
        export(run, out, ExportSettings("adapter"))
    assert (out / "export.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "tuned"]


# -- quantised bases -----------------------------------------------------------------------------------------------


@pytest.fixture
def quantised_base(tiny_base, tmp_path) -> Path:
    """As a base that is stored in 4 bits says of itself."""
    folder = tmp_path / "base-4bit"
    shutil.copytree(tiny_base, folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_nothing_is_merged_into_a_quantised_model(tiny_base):
    model = with_random_adapter(str(tiny_base), r=4)
    model.config.quantization_config = {"load_in_4bit": True}
    with pytest.raises(DataError, match="quantised weights"):
        merge(model)


def test_an_adapter_trained_on_4_bits_is_merged_into_the_16_bit_base(tiny_base, make_run):
    run = make_run()
    trained = with_random_adapter(str(tiny_base), r=4)
    assert mergeable(trained, str(tiny_base), run / "adapter") is trained
    trained.config.quantization_config = {"load_in_4bit": True}
    other = mergeable(trained, str(tiny_base), run / "adapter")
    assert other is not trained
    assert not hasattr(merge(other).config, "quantization_config")


def test_a_base_that_is_stored_in_4_bits_is_refused(quantised_base, make_run, tmp_path, tiny_base):
    run = make_run()
    (run / MANIFEST).write_text(json.dumps({"recipe": {"base_model": str(quantised_base)}}))
    shutil.rmtree(run / "merged")
    for call in (
        lambda: check_mergeable(str(quantised_base)),
        lambda: export(run, tmp_path / "out", ExportSettings("merged-16bit")),
        lambda: load_with_adapter(str(quantised_base), run / "adapter"),
    ):
        with pytest.raises(DataError, match="stored quantised"):
            call()
    export(run, tmp_path / "out", ExportSettings("merged-16bit", base_model=str(tiny_base)))
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_a_quantised_model_is_no_source(quantised_base, tmp_path):
    with pytest.raises(DataError, match="quantised already"):
        export(quantised_base, tmp_path / "out", ExportSettings("merged-16bit"))


def test_4_bits_need_a_gpu(make_run, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(MissingRequirement, match="NVIDIA GPU"):
        export(make_run(), tmp_path / "out", ExportSettings("merged-4bit"))
    assert not (tmp_path / "out").exists()


@pytest.mark.gpu
def test_4_bits_on_a_gpu(make_run, tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("bitsandbytes")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    export(make_run(), tmp_path / "out", ExportSettings("merged-4bit"))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["quantization_config"]["bnb_4bit_quant_type"] == "nf4"


# -- what is no model ------------------------------------------------------------------------------------------------


def test_only_safetensors_are_read(make_run, tmp_path):
    run = make_run()
    (run / "adapter" / "adapter_model.safetensors").rename(run / "adapter" / "adapter_model.bin")
    with pytest.raises(DataError, match="no weights as safetensors"):
        export(run, tmp_path / "out", ExportSettings("adapter"))


def test_no_model_at_all(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        export(tmp_path / "nowhere", tmp_path / "out", ExportSettings("adapter"))
    with pytest.raises(DataError, match="holds no model"):
        export(tmp_path, tmp_path / "out", ExportSettings("adapter"))


def test_an_adapter_cannot_come_out_of_a_whole_model(make_run, tmp_path):
    with pytest.raises(UsageError, match="holds no adapter"):
        export(make_run() / "merged", tmp_path / "out", ExportSettings("adapter"))


def test_an_adapter_for_another_model_is_refused(make_run, tmp_path, tiny_config, tiny_tokenizer):
    import copy

    from transformers import LlamaForCausalLM

    config = copy.deepcopy(tiny_config)
    config.hidden_size, config.head_dim = 64, 16
    LlamaForCausalLM(config).save_pretrained(tmp_path / "wide")
    tiny_tokenizer.save_pretrained(tmp_path / "wide")
    with pytest.raises(DataError, match="does not fit the base model"):
        export(make_run(), tmp_path / "out", ExportSettings("merged-16bit", base_model=str(tmp_path / "wide")))
