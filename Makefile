# Everything a newcomer needs; each target installs what it wants into .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-unit check format bench bench-peers bench-memory bench-million bench-actors clean

demo: $(STAMP)  ## Train 1,000 simulated machines on Ray
	$(BIN)/fedray run experiments/demo/demo.yaml

test: test-unit  ## All tests
	$(BIN)/pytest --ignore=tests/unit --durations=40

test-unit: $(STAMP)  ## The fast tests, without Ray, on two processors
	$(BIN)/pytest tests/unit -n 2 --dist worksteal

check: $(STAMP)  ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## fedray against its peers at equal work; the options are REPEATS=1 WORKERS=4 WORKLOADS="W1 W3"
	$(BIN)/python -m experiments.benchmarks $(if $(REPEATS),--repeats $(REPEATS)) $(if $(WORKERS),--workers $(WORKERS)) \
		$(if $(WORKLOADS),--workloads $(WORKLOADS))

bench-peers: $(STAMP)  ## Flower and pfl-research, each in an environment of its own, with the torch of .venv
	torch=$$($(BIN)/python -c 'from importlib.metadata import version; print(version("torch").split("+")[0])') && \
	for peer in flower pfl; do \
		$(PYTHON) -m venv experiments/benchmarks/envs/$$peer && \
		experiments/benchmarks/envs/$$peer/bin/python -m pip install --quiet "torch==$$torch" \
			-r experiments/benchmarks/requirements-$$peer.txt || exit 1; \
	done

bench-memory: $(STAMP)  ## Time and memory at cohorts of 100, 1,000 and 10,000 of 100,000 clients
	$(BIN)/python -m experiments.scalability.memory

bench-million: $(STAMP)  ## A million registered clients, 10,000 and 20,000 of them in each of five rounds
	$(BIN)/python -m experiments.scalability.memory --machines 1000000 --cohorts 10000 20000 --rounds 5 --against 20000

bench-actors: $(STAMP)  ## 400 client actors of one client each, and with ten of them killed; about ten minutes
	$(BIN)/python experiments/scalability/actors.py

# What the S3 tests want comes by itself: beside all else pip searches for long and takes another torch.
$(STAMP): pyproject.toml tests/requirements-s3.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fedray needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	$(BIN)/python -m pip install --quiet -r tests/requirements-s3.txt
	touch $@

clean:
	rm -rf $(VENV)
