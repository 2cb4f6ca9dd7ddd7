# Everything a newcomer needs; each target installs what it wants into .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-unit check format bench clean

demo: $(STAMP)  ## Train 1,000 simulated machines on Ray
	$(BIN)/fedray run experiments/demo/demo.yaml

test: $(STAMP)  ## All tests
	$(BIN)/pytest

test-unit: $(STAMP)  ## The fast tests, without Ray
	$(BIN)/pytest tests/unit

check: $(STAMP)  ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## Time and memory at cohorts of 100, 1,000 and 10,000 of 100,000 clients
	$(BIN)/python experiments/scalability/memory.py

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fedray needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
