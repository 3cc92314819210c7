# Two commands do everything: `make demo` and `make test`. Each sets up what it needs.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test lint unit setup servers clean

help:
	@echo "make demo   run the main job on real notices and show the result (no server, no root)"
	@echo "make test   install what the tests need and run all of them"
	@echo "make lint   format, lint, types and doors only"
	@echo "make unit   the tests that need no server"

# The virtual environment, with every version pinned by constraints.txt.
$(VENV)/.ready: pyproject.toml constraints.txt
	@sh tests/setup/python.sh "$(PYTHON)" "$(VENV)"
	@touch $@

setup: $(VENV)/.ready

# Dovecot, Postfix, Redis and PostgreSQL, for the live tests: installed where root may, named where not.
servers:
	@sh tests/setup/servers.sh

demo: setup
	@$(BIN)/python tests/demo/demo.py

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: setup
	$(BIN)/python -m pytest -m "not live"

test: setup servers lint
	$(BIN)/python -m pytest

clean:
	rm -rf $(VENV) demo-data .mypy_cache .ruff_cache .import_linter_cache .hypothesis
