# Every target works on a fresh clone and is quick the second time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE_PACKAGES := tests/node_modules
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help setup dev node serve test check format bench bench-shim proof snapshots tables lock clean

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "mogplex-mcp needs Python 3.11 or newer; set PYTHON, for example: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.python requirements.lock pyproject.toml
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock shim/pyproject.toml
	$(PIP) install --require-hashes -r requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation -e shim
	@touch $@

setup: $(VENV)/.runtime ## Make .venv with what requirements.lock pins

dev: $(VENV)/.dev

$(NODE_PACKAGES)/.installed: tests/package.json tests/package-lock.json
	@command -v npm >/dev/null || { echo "The slow proof runs Node programs: install Node with npm" >&2; exit 1; }
	npm ci --prefix tests --ignore-scripts --loglevel=error
	@touch $@

node: $(NODE_PACKAGES)/.installed ## Install Node, the conformance suite and the clients that `make proof` runs

serve: setup ## Run the server on http://127.0.0.1:8747/mcp
	@exec $(BIN)/mogplex-mcp serve

test: dev ## Run the whole suite
	$(BIN)/python -m pytest -n auto -m "not slow"

check: dev ## Formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: dev ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: dev ## Measure this server beside a bare proxy, the check of access tokens, and the request budget
	$(BIN)/python -m bench
	$(BIN)/python -m bench.budget
	$(BIN)/python -m bench.bearer --limit 50

bench-shim: dev ## Measure the stdio shim beside other people's (installs them; needs npm)
	$(BIN)/python -m bench.shim

proof: dev node ## The slow proof: the conformance suite, other people's clients, a real browser, soak
	@command -v chromium >/dev/null || { echo "The slow proof opens a browser: install Chromium as chromium" >&2; exit 1; }
	$(BIN)/python -m pytest -m slow

tables: dev ## Write the README's generated tables anew
	$(BIN)/python -m tests.tables

snapshots: dev ## Record the tools' wire schemas anew, for review
	$(BIN)/python tests/tools/snapshots.py

lock: dev ## Pin the dependencies anew (needs uv)
	uv pip compile pyproject.toml --group build --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet -o requirements.lock
	uv pip compile pyproject.toml --group build --group dev -c requirements.lock --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet -o requirements-dev.lock

clean: ## Remove what was built
	rm -rf $(VENV) $(NODE_PACKAGES) .mypy_cache .ruff_cache .pytest_cache
