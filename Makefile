# Two commands: `make run` and `make test`. They need Python 3.11 and make, nothing else.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
DATA_DIR ?= .data
PORT ?= 8000
export DATA_DIR PORT

.PHONY: run test lint types check bench bench-graph bench-chunking quickstart lock browser clean help
.DEFAULT_GOAL := help

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.run: requirements/run.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned packages into $(VENV) (a few minutes the first time) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/run.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	@touch $@

run: $(VENV)/.run ## start everything on $$DATA_DIR and $$PORT (Ctrl-C stops it)
	@exec $(BIN)/python manage.py serve

test: $(VENV)/.dev browser ## set up and run the whole test suite on real parts
	@$(BIN)/python -m pytest -n 2 --dist loadfile

browser: ## a headless Chromium for the browser test, where Debian's packages can be installed
	@sh tests/install_chromium.sh

lint: $(VENV)/.dev ## ruff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy, strict for chunking, graph and accel
	@$(BIN)/mypy

check: lint types

quickstart: $(VENV)/.run ## the five-minute tour with the mem0ai client, against a running service
	@$(BIN)/python examples/quickstart.py

bench: $(VENV)/.dev ## latency and ingest, side by side with mem0 in process; prints a table
	@$(BIN)/python -m benchmarks.service

bench-graph: $(VENV)/.dev ## questions to the knowledge graph, 100,000 entities and 300,000 relations; prints a table
	@$(BIN)/python -m benchmarks.graph

FOLDER ?= docs
bench-chunking: $(VENV)/.dev ## splitting the documents of FOLDER, beside chonkie and langchain-text-splitters; prints a table
	@$(BIN)/python -m benchmarks.chunking $(FOLDER)

lock: $(VENV)/.dev ## resolve requirements/*.in again into pinned requirements/*.txt
	@sh requirements/lock.sh $(BIN)/uv

clean: ## remove the virtual environments and caches (never the data)
	rm -rf $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache
