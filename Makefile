# The four verbs of this project. `make demo` is the place to begin.
PYTHON ?= python3
BIN := .venv/bin
# What the demo may be given: SEED=7 makes another split, other rephrasings and another adapter.
SEED ?= 1
OUT ?= demo
RASA_PRO_VERSION ?= 3.21.0

.PHONY: demo test test-rasa-pro lint coverage deep bench install clean

demo: install
	@$(BIN)/rasa-ft plugin enable
	PATH="$(CURDIR)/$(BIN):$$PATH" rasa llm finetune run examples/bot --out $(OUT) --seed $(SEED)

test: install
	$(BIN)/python -m pytest -m "not slow"

# Our files, read by rasa-pro's own readers in an environment of its own; needs no licence.
test-rasa-pro: install .venv-rasa-pro/installed-$(RASA_PRO_VERSION)
	RASA_FT_RASA_PRO_PYTHON="$(CURDIR)/.venv-rasa-pro/bin/python" $(BIN)/python -m pytest -m rasa_pro tests/rasa_pro

.venv-rasa-pro/installed-$(RASA_PRO_VERSION):
	rm -rf .venv-rasa-pro
	$(PYTHON) -m venv .venv-rasa-pro
	.venv-rasa-pro/bin/python -m pip install --quiet --disable-pip-version-check rasa-pro==$(RASA_PRO_VERSION)
	@touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Of each pure layer at least what pyproject.toml says, by the tests of these layers alone.
coverage: install
	$(BIN)/python -m coverage run -m pytest -m "not slow" tests/calm tests/e2e tests/evaluation
	@for part in calm e2e evaluation; do \
	  echo "== $$part"; $(BIN)/python -m coverage report --include="rasa_ft/$$part/*" || exit 1; \
	done

# 10 000 examples of everything that may come: commands, conditions, broken files, whole conversations.
deep: install
	HYPOTHESIS_PROFILE=deep $(BIN)/python -m pytest --hypothesis-show-statistics tests/test_loaders_properties.py \
	  tests/test_hostile_text.py $(wildcard tests/calm/*_properties.py)

bench: install
	$(BIN)/python benchmarks/help_startup.py
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/e2e.py
	$(BIN)/python benchmarks/prepare_data.py
	$(BIN)/python benchmarks/labels.py
	$(BIN)/python benchmarks/llm_faults.py
	$(BIN)/python benchmarks/kill_and_resume.py
	$(BIN)/python benchmarks/training.py tokens --wordings recipe 10
	$(BIN)/python benchmarks/training.py speed --precision bf16
	$(BIN)/python benchmarks/training.py gradients --precision fp32

install: .venv/installed

# --no-deps: the file names every package, and leaving the resolver out is faster and keeps CUDA builds away.
.venv/installed: constraints/cpu.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r constraints/cpu.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf .venv .venv-rasa-pro $(OUT)
