# make demo · make test · make check · make bench
# Everything is installed into .venv; PYTHON chooses the interpreter that makes it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

# The suite starts many interpreters; without compiled modules each would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test explore check format bench fuzz clean

demo: $(VENV)/.demo
	@$(BIN)/python examples/demo.py $(ARGS)

test: $(VENV)/.dev
	@$(PYTEST) $(ARGS)

explore: $(VENV)/.dev
	@HYPOTHESIS_PROFILE=explore $(PYTEST) $(ARGS)

check: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/pyright

format: $(VENV)/.dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.dev
	@$(BIN)/python benchmarks/local_model.py

fuzz: $(VENV)/.dev
	@$(PIP) install --editable ".[fuzz]"
	@$(BIN)/python -m tests.fuzz $(TARGET) -max_len=1500 -max_total_time=$(or $(SECONDS),60)

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "error: $(PYTHON) cannot make a virtual environment; it needs Python 3.11+ with venv (Debian: apt-get install python3-venv)"; rm -rf $(VENV); exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: agentkit needs Python 3.11 or newer: make PYTHON=python3.12 ..."; rm -rf $(VENV); exit 1; }

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "installing agentkit with its embedded model"
	@$(PIP) install --editable ".[local,cli]"
	@$(BIN)/agentkit models pull
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.demo | $(BIN)/python
	@echo "installing the test tools"
	@$(PIP) install --editable ".[dev]"
	@touch $@
