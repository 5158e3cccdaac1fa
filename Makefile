# The four verbs of this project. `make demo` is the place to begin.
PYTHON ?= python3
BIN := .venv/bin
# What the demo may be given: SEED=7 makes another split, other rephrasings and another adapter.
SEED ?= 1
OUT ?= demo

.PHONY: demo test lint bench install clean

demo: install
	@$(BIN)/rasa-ft plugin enable
	PATH="$(CURDIR)/$(BIN):$$PATH" rasa llm finetune run examples/bot --out $(OUT) --seed $(SEED)

test: install
	$(BIN)/python -m pytest -m "not slow"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	$(BIN)/python benchmarks/help_startup.py
	$(BIN)/python benchmarks/training_speed.py

install: .venv/installed

# --no-deps: the file names every package, and leaving the resolver out is faster and keeps CUDA builds away.
.venv/installed: constraints/cpu.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r constraints/cpu.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf .venv $(OUT)
