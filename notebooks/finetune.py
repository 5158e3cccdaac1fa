# ---
# jupyter:
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
# # From E2E tests to a command model of your own
#
# The same steps as the commands in the README, as calls of the package: test, prepare data, train, evaluate. It runs on
# a laptop's CPU with the example assistant, whose teacher is a recording; on a GPU choose another recipe below.

# %%
import asyncio
import os
from pathlib import Path

from IPython.display import HTML, Image, display

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "examples" / "bot").is_dir())
PROJECT = ROOT / "examples" / "bot"
OUT = Path(os.environ.get("NOTEBOOK_OUT", "notebook_run"))
TESTS = PROJECT / os.environ.get("NOTEBOOK_TESTS", "e2e_tests")
# 0: as many steps as the recipe says.
STEPS = int(os.environ.get("NOTEBOOK_STEPS", "0"))
SEED = 1

# %% [markdown]
# ## 1. Test, and look at the coverage
#
# A model can only learn what the tests show. Go on when 90 % of all flow steps and 80 % of every flow are covered.

# %%
from rasa_ft.e2e.cases import load_suite
from rasa_ft.e2e.results import write_coverage
from rasa_ft.e2e.runner import run_suite
from rasa_ft.engine.embedded import load_engine

engine = load_engine(PROJECT)
# Notebooks have an event loop running already, so `await` works here as it is.
tested = await run_suite(engine, load_suite(TESTS), concurrency=8)
coverage = write_coverage(OUT / "coverage", tested, engine.flows, engine.project)
print(f"{sum(result.passed for result in tested.results)} of {len(tested.results)} conversations pass,")
print(f"{coverage.passed.percent:.0f} % of the flows' steps are covered.")
display(Image(OUT / "coverage" / "commands_histogram_for_passed_tests.png"))

# %% [markdown]
# ## 2. Prepare data
#
# Every user message is annotated by the teacher and rephrased; a rephrasing stays only if the teacher gives the same
# commands with the same values. No validation wording gets into training.

# %%
from rasa_ft.recipe.project import prepare_project, settings_for


def prepare():
    settings = settings_for(PROJECT, seed=SEED)
    return prepare_project(OUT / "coverage" / "passed.yml", PROJECT, settings, OUT / "data", force=True)


data = await asyncio.to_thread(prepare)
for name in ("num_annotated_conversations", "num_train_data_points", "num_val_data_points", "leakage"):
    print(f"{name:<32} {data[name]}")

# %% [markdown]
# ## 3. Train
#
# LoRA with TRL and PEFT. What the rows of a step have in common is computed once, with the same gradients as the plain
# batch: compare the last two figures.

# %%
from rasa_ft.training.config import DEFAULT_RECIPE, load_recipe
from rasa_ft.training.trainer import train

changes = [f"training.seed={SEED}", *([f"training.max_steps={STEPS}"] if STEPS else [])]
recipe = load_recipe(DEFAULT_RECIPE, changes).with_data(OUT / "data")
trained = train(recipe, OUT / "model")
print(f"{trained.steps} steps in {trained.seconds / 60:.1f} minutes, loss {trained.loss:.3f}")
print(f"{trained.tokens_computed:,} tokens computed for rows of {trained.tokens_of_rows:,} tokens")
display(Image(OUT / "model" / "loss.png"))

# %% [markdown]
# ## 4. Serve and evaluate
#
# Base and tuned model are served with vLLM, one after the other, and run the same E2E tests over HTTP as the teacher.

# %%
from rasa_ft.recipe.evaluating.evaluate import EvaluateSettings, evaluate


def run_evaluation():
    return evaluate(EvaluateSettings(project=PROJECT, data=OUT / "data", model=OUT / "model", out=OUT / "evaluation"))


result = await asyncio.to_thread(run_evaluation)
print(result.verdict.headline)
display(HTML((OUT / "evaluation" / "report.html").read_text(encoding="utf-8")))

# %% [markdown]
# ## What next
#
# - `rasa llm finetune serve OUT/model` serves the model and prints what belongs into `endpoints.yml` and `config.yml`.
# - Not enough evidence, or a gate missed? Write tests like the failing ones in the report, and run this again.
