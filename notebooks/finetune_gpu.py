# ---
# jupyter:
#   accelerator: GPU
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Fine-tune Llama 3.1 8B for command generation on a GPU
#
# The rows that `rasa llm finetune prepare-data` wrote go in; an adapter, a merged model and their loss curves come out.
# For Colab or any machine with a CUDA GPU: 24 GB or more for the 16-bit recipe, 12 GB for the one in 4 bits. Everything
# here is also a command of the [README](../README.md); `finetune.ipynb` is the whole loop on a laptop's CPU.
#
# | What goes wrong in other notebooks | Here |
# | --- | --- |
# | the data's format is another than the code expects | what `prepare-data` writes is read; errors name the line |
# | pad token and answer marker are those of one model | both come from the tokenizer and its chat template |
# | the loss plot lacks the training curve | both curves come from one log, written step by step |
# | few steps, so no evaluation at all, and the plot fails | `eval_steps` is set from the number of steps |
# | a trial answer is asked with the right one in the prompt | the prompt is the row's messages without the answer |
# | the base model is served, or in another precision | the merged 16-bit model, under the name that `serve` prints |
# | the adapter is put on twice | once, by PEFT or by Unsloth |
# | the text begins twice | one call of the chat template makes token ids; tests compare them with the server's |
# | long rows lose their end, which is the answer | a row longer than `max_length` is an error, or dropped and counted |
# | no seed, contradicting versions, a token in a cell | both are in the manifest; keys are in the environment |

# %% [markdown]
# ## 1. Install
#
# In Colab choose a GPU first (Runtime, Change runtime type), and set `RASA_FT_SOURCE` to this repository's address,
# to be cloned. Versions are those that this notebook was tested with. Restart the session if pip says that it
# replaced a package in use.

# %%
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

CLONE = Path("rasa_ft_source")
PINNED = ("transformers==5.19.0", "trl==1.16.0", "peft==0.21.2", "accelerate==1.15.0", "datasets==5.2.0")
if importlib.util.find_spec("rasa_ft") is None:
    if not CLONE.exists():
        subprocess.run(["git", "clone", "--depth", "1", os.environ["RASA_FT_SOURCE"], str(CLONE)], check=True)
    wanted = [f"./{CLONE}[train]", "bitsandbytes>=0.45", *PINNED]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *wanted], check=True)

# %% [markdown]
# ## 2. Settings and keys
#
# Llama 3.1 is gated: accept its terms on its page of the hub. The token comes from the environment (`HF_TOKEN`), in
# Colab from its secrets (the key symbol at the left), and is neither shown nor stored in the notebook.

# %%
IN_COLAB = "google.colab" in sys.modules
if IN_COLAB and "HF_TOKEN" not in os.environ:
    from google.colab import userdata

    try:
        os.environ["HF_TOKEN"] = userdata.get("HF_TOKEN")
    except (userdata.SecretNotFoundError, userdata.NotebookAccessError):
        print("HF_TOKEN is not among this notebook's secrets.")
DATA = Path(os.environ.get("NOTEBOOK_DATA", "output"))
OUT = Path(os.environ.get("NOTEBOOK_OUT", "finetuned"))
# An assistant's folder: with it, the model is evaluated by the E2E tests in DATA.
PROJECT = os.environ.get("NOTEBOOK_PROJECT")
# Other values for the recipe, as in: training.learning_rate=5e-5 training.num_train_epochs=2
CHANGES = os.environ.get("NOTEBOOK_CHANGES", "").split()

# %% [markdown]
# ## 3. Data
#
# Run `rasa llm finetune prepare-data` where your assistant is, and bring its folder `output` here: copy it beside this
# notebook, or upload it as a zip file when asked.

# %%
if IN_COLAB and not DATA.exists():
    import shutil

    from google.colab import files

    for name in files.upload():
        shutil.unpack_archive(name, DATA.parent)
print("Data:", "found" if DATA.exists() else f"missing: {DATA}")

# %% [markdown]
# ## 4. Choose a recipe, and look before training
#
# The 16-bit recipe if the card has 40 GB, else the one in 4 bits (QLoRA). With Unsloth instead of PEFT, on cards and
# models that it knows: `pip install unsloth`, and `backend=unsloth` among the changes.
#
# The plan counts rows, tokens and steps and estimates the memory, before weights are loaded. (As a command:
# `rasa llm finetune train RECIPE.yml --data output/ --dry-run`.)

# %%
import torch

from rasa_ft.training.config import load_recipe
from rasa_ft.training.plan import make_plan

PLACES = (CLONE, Path.cwd(), *Path.cwd().parents)
RECIPES = next(place / "examples/recipes" for place in PLACES if (place / "examples/recipes").is_dir())
memory = torch.cuda.get_device_properties(0).total_memory / 2**30 if torch.cuda.is_available() else 0
name = "command-generation-llama31-8b" if memory >= 38 else "command-generation-llama31-8b-qlora"
if torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False):
    CHANGES += ["quantization.bnb_4bit_compute_dtype=float16"]  # a T4, for one
RECIPE = Path(os.environ.get("NOTEBOOK_RECIPE", RECIPES / f"{name}.yml"))

recipe = load_recipe(RECIPE, CHANGES).with_data(DATA)
plan = make_plan(recipe)
# Ten looks at the validation rows, however short the training is.
recipe = load_recipe(RECIPE, [f"training.eval_steps={max(1, plan.steps // 10)}", *CHANGES]).with_data(DATA)
print(f"{RECIPE.stem}: {plan.train_rows} rows to train, {plan.validation_rows} to validate, {plan.steps} steps")
print(f"longest row {plan.row_tokens_max} tokens of at most {plan.max_length}")
print(f"about {plan.memory_gib:.0f} GiB needed, {memory:.0f} GiB on the card")
for one in plan.missing:
    print("Not on this machine:", one)

# %% [markdown]
# **Out of memory?** In this order, as changes in the cell above; the first two give the same training:
#
# 1. `training.per_device_train_batch_size=1` with `training.gradient_accumulation_steps=8`: as many rows a step, fewer
#    at once.
# 2. `training.gradient_checkpointing=true`: activations are computed again instead of kept; slower by about a third.
# 3. `training.max_length` down to just above your longest row (the plan shows it). Longer rows are refused, not cut.
# 4. The recipe in 4 bits, whose base model takes 6 GB instead of 16.

# %% [markdown]
# ## 5. Train
#
# For several GPUs start the same recipe with `accelerate launch` from a terminal instead: see
# [docs/gpu.md](../docs/gpu.md).

# %%
from rasa_ft.training.trainer import train


def show(progress):
    if progress.validation_loss is not None or progress.step == 1:
        validation = "" if progress.validation_loss is None else f", validation {progress.validation_loss:.3f}"
        print(f"step {progress.step}/{progress.steps}  loss {progress.loss:.3f}{validation}  {progress.seconds:.0f} s")


trained = train(recipe, OUT, show)
print(f"{trained.steps} steps in {trained.seconds / 60:.1f} minutes")

# %% [markdown]
# ## 6. Read the two curves
#
# - **Both fall and level off at nearly the same loss:** good. Go on.
# - **Neither levels off:** the training was too short. More steps: raise `training.num_train_epochs` (or `max_steps`).
# - **Validation rises while training still falls:** the model learns rows by heart. Fewer steps, or more varied tests.

# %%
from IPython.display import Image, display

display(Image(OUT / "loss.png"))

# %% [markdown]
# ## 7. A trial
#
# Rows that were not trained: the model gets the prompt, and its answer is compared with the expected one. A quick look
# only; the verdict comes from whole conversations, below.

# %%
from rasa_ft.training.probe import probe
from rasa_ft.training.rows import read_examples

held_out = recipe.dataset.validation_sources
if held_out:
    tried = probe(trained.merged, read_examples(held_out[0].path), limit=24, shown_misses=3)
    print(f"{tried.rows - tried.wrong} of {tried.rows} answered exactly")
    for miss in tried.misses:
        print(f"\nexpected {miss.example.completion!r}\nanswered {miss.answer!r}")

# %% [markdown]
# ## 8. Serve, evaluate, take away
#
# vLLM wants the whole GPU: restart the session, `pip install 'vllm>=0.20'` in an environment of its own, and in a
# terminal:
#
# ```
# rasa-ft llm finetune serve finetuned
# rasa-ft llm finetune evaluate my-assistant --data output --model finetuned
# rasa-ft llm finetune export finetuned --format adapter --push-to s3://models/bookings
# ```
#
# `evaluate` serves base and tuned model itself, one after the other. What `serve` runs, and what it prints for your
# `endpoints.yml` and `config.yml`:

# %%
from rasa_ft.serving.command import ServeSettings, find_model, server_command
from rasa_ft.serving.endpoint import Endpoint

command = server_command(ServeSettings(find_model(OUT)), "vllm")
print(" ".join(command.arguments), "\n")
print(Endpoint("http://127.0.0.1:8000/v1", command.model_name).snippet(None))

# %% [markdown]
# The verdict: the E2E tests of both sides on the base model, the tuned model and the teacher. It runs if
# `NOTEBOOK_PROJECT` names your assistant and vLLM is installed.

# %%
import asyncio

if PROJECT:
    from IPython.display import HTML

    from rasa_ft.recipe.evaluating.evaluate import EvaluateSettings, evaluate

    settings = EvaluateSettings(project=Path(PROJECT), data=DATA, model=OUT, out=OUT.with_name("evaluation"))
    result = await asyncio.to_thread(evaluate, settings)
    print(result.verdict.headline)
    display(HTML((settings.out / "report.html").read_text(encoding="utf-8")))

# %% [markdown]
# The adapter is what you take away: some 80 MB, which go onto the same base model anywhere.

# %%
from rasa_ft.training.export.write import ExportSettings, export

exported = export(OUT, OUT.with_name(f"{OUT.name}-adapter"), ExportSettings("adapter"))
print(f"{exported.folder.name}: {exported.files} files, {exported.size / 1e6:.1f} MB")
