"""GGUF through llama.cpp's converter, and a Modelfile whose prompt is the one of training.

The slow test needs a checkout of llama.cpp: name it in RASA_FT_LLAMA_CPP.
"""

import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("peft", reason="training libraries are not installed")
import tiny_tokenizers

from rasa_ft.errors import DataError, MissingRequirement, RasaFtError
from rasa_ft.training.base_models import SMOLLM2, find_base_model, load_model, load_tokenizer
from rasa_ft.training.export.gguf import find_script
from rasa_ft.training.export.merged import save_model
from rasa_ft.training.export.modelfile import go_template, modelfile
from rasa_ft.training.export.write import ExportSettings, export
from rasa_ft.training.tokens import end_token_id

QUESTION = "Flows: book, stop\nUSER: {{ x }} to 'York'"
_GO = re.compile(r"\{\{ (.*?) \}\}")


def written_by(tokenizer, **said: str) -> str:
    """What the chat template writes before the answer."""
    messages = [{"role": role, "content": text} for role, text in said.items()]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def rendered(template: str, *, system: str = "", prompt: str) -> str:
    """What Ollama sends to the model: the little of Go's templates that ours consist of, up to the answer."""
    if template.startswith("{{ if .System }}"):
        with_system, _, rest = template.removeprefix("{{ if .System }}").partition("{{ else }}")
        without, _, end = rest.partition("{{ end }}")
        template = (with_system if system else without) + end
    values = {".System": system, ".Prompt": prompt, '"{"': "{"}
    asked = template.partition("{{ .Response }}")[0]
    return _GO.sub(lambda match: values[match[1]], asked)


@pytest.mark.parametrize("name", ["chatml", "llama", "qwen", "mistral"])
def test_ollama_s_prompt_is_the_chat_template_s(name):
    tokenizer = getattr(tiny_tokenizers, name)()
    assert rendered(go_template(tokenizer), prompt=QUESTION) == written_by(tokenizer, user=QUESTION)


@pytest.mark.parametrize("name", ["chatml", "llama"])
def test_with_a_system_message_too(name):
    tokenizer = getattr(tiny_tokenizers, name)()
    asked = rendered(go_template(tokenizer), system="Be brief.", prompt=QUESTION)
    assert asked == written_by(tokenizer, system="Be brief.", user=QUESTION)


def test_a_template_that_takes_no_system_message_gets_none():
    template = go_template(tiny_tokenizers.mistral())
    assert ".System" not in template
    assert template.endswith("{{ .Response }}</s>")


def test_braces_of_the_chat_template_are_no_go():
    tokenizer = tiny_tokenizers.chatml()
    tokenizer.chat_template = tiny_tokenizers.CHATML.replace("You help.", 'Say {"x": {"y": 1}} {')
    assert '{"x": {"y": 1}} {' in written_by(tokenizer, user="hello")
    assert rendered(go_template(tokenizer), prompt="hello") == written_by(tokenizer, user="hello")


def test_a_chat_template_that_rewrites_messages_is_refused():
    tokenizer = tiny_tokenizers.chatml()
    tokenizer.chat_template = tiny_tokenizers.CHATML.replace("message['content']", "message['content'] | upper")
    with pytest.raises(DataError, match="Ollama's templates cannot repeat"):
        go_template(tokenizer)


def test_parameters_are_those_of_our_serving():
    text = modelfile(tiny_tokenizers.chatml(), stops=["<|im_end|>", 'a"b'], context=2048)
    lines = text.splitlines()
    assert {"FROM ./model.gguf", "PARAMETER temperature 0", "PARAMETER repeat_penalty 1"} <= set(lines)
    # Ollama cuts prompts that are longer than num_ctx, and does not say so.
    assert "PARAMETER num_ctx 2048" in lines
    assert lines[-2:] == ['PARAMETER stop "<|im_end|>"', 'PARAMETER stop "a\\"b"']


# -- the converter -----------------------------------------------------------------------------------------------------


@pytest.fixture
def whole(tiny_base, tiny_tokenizer, tmp_path) -> Path:
    """A merged model without an adapter."""
    save_model(load_model(str(tiny_base)), tiny_tokenizer, 1, tmp_path / "whole", max_shard_size="1GB")
    return tmp_path / "whole"


def checkout(folder: Path, script: str) -> Path:
    folder.mkdir()
    (folder / "convert_hf_to_gguf.py").write_text(script)
    return folder


def test_the_converter_gets_a_model_that_begins_with_nothing_of_its_own(whole, tmp_path):
    """A stand-in that writes down what it was given; what the real one does with it, the slow test shows."""
    script = (
        "import json, pathlib, sys\n"
        "model, _, target, _, kind = sys.argv[1:]\n"
        "settings = json.loads((pathlib.Path(model) / 'tokenizer_config.json').read_text())\n"
        "pathlib.Path(target).write_text(f\"{kind} {settings['add_bos_token']}\")\n"
    )
    out = tmp_path / "out"
    export(whole, out, ExportSettings("gguf", llama_cpp=checkout(tmp_path / "llama.cpp", script)))
    assert (out / "model.gguf").read_text() == "bf16 False"
    assert {path.name for path in out.iterdir()} == {"model.gguf", "Modelfile", "README.md", "export.json"}
    assert "ollama create out -f Modelfile" in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ("import no_such_package", MissingRequirement, "No module named 'no_such_package'"),
        ("raise SystemExit('Model TinyForCausalLM is not supported')", RasaFtError, r"\(exit code 1\): Model Tiny"),
        ("pass", RasaFtError, "it said nothing"),
    ],
)
def test_a_converter_that_fails_says_why(script, error, message, whole, tmp_path):
    settings = ExportSettings("gguf", llama_cpp=checkout(tmp_path / "llama.cpp", script))
    with pytest.raises(error, match=message):
        export(whole, tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_without_llama_cpp_it_is_told_where_to_get_it(tmp_path):
    for place in (None, tmp_path):
        with pytest.raises(MissingRequirement) as caught:
            find_script(place)
        assert "git clone" in str(caught.value)


@pytest.mark.slow
@pytest.mark.usefixtures("smollm2_wheel")
def test_the_real_converter(tmp_path):
    """Every weight and the chat template are in the file, and no token is put before a prompt."""
    import torch

    gguf = pytest.importorskip("gguf")
    llama_cpp = os.environ.get("RASA_FT_LLAMA_CPP")
    if not llama_cpp:
        pytest.skip("needs a checkout of llama.cpp, named in RASA_FT_LLAMA_CPP")
    model, tokenizer = load_model(SMOLLM2), load_tokenizer(SMOLLM2)
    export(Path(find_base_model(SMOLLM2)), tmp_path / "out", ExportSettings("gguf", llama_cpp=Path(llama_cpp)))

    reader = gguf.GGUFReader(tmp_path / "out" / "model.gguf")
    fields = SimpleNamespace(**{name.replace(".", "_"): field.contents() for name, field in reader.fields.items()})
    assert (fields.general_architecture, fields.llama_block_count) == ("llama", model.config.num_hidden_layers)
    assert fields.tokenizer_chat_template == tokenizer.chat_template
    assert fields.tokenizer_ggml_add_bos_token is False
    assert fields.tokenizer_ggml_eos_token_id == end_token_id(tokenizer)
    assert fields.tokenizer_ggml_tokens[:1000] == tokenizer.convert_ids_to_tokens(range(1000))
    # Output and input embeddings are one matrix, and rotations are stored as numbers of the architecture.
    assert len(reader.tensors) == len(list(model.parameters()))
    stored = {tensor.name: tensor for tensor in reader.tensors}["blk.3.ffn_down.weight"]
    weight = torch.frombuffer(bytearray(stored.data.tobytes()), dtype=torch.bfloat16)
    assert torch.equal(weight, model.model.layers[3].mlp.down_proj.weight.flatten())
