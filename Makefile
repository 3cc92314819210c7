# Two commands do everything: `make demo` and `make test`. Each sets up what it needs.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
SECONDS ?= 60

.PHONY: help demo test lint unit chaos bench rivals budget fuzz audit pins setup servers mail clean

help:
	@echo "make demo   run the main job on real notices and show the result (no server, no root)"
	@echo "make test   install what the tests need and run all of them"
	@echo "make mail   a mail server on loopback until Ctrl-C, for README's walk through a CRM (as root)"
	@echo "make lint   format, lint, types and doors only"
	@echo "make unit   the tests that need no server"
	@echo "make chaos  a long run of faults on a whole deployment; SEED= FAULTS=1000 NOTICES=10000 ARGS=--json"
	@echo "make bench  how much the whole worker does, in one table, on real servers (half an hour); ARGS='attach --json' for a part"
	@echo "make rivals speed beside other programs; CORPUS=folder for another labelled corpus"
	@echo "make budget what reading an inbox costs: round trips and bytes, on a real server"
	@echo "make audit  known vulnerabilities of what is installed; make pins renews versions and hashes (UPGRADE=--upgrade)"
	@echo "make fuzz   coverage-guided fuzzing for SECONDS (a minute); from atheris, installed on first use"

# The virtual environment, every file of it by the hash that is pinned.
$(VENV)/.ready: pyproject.toml tests/constraints.txt
	@sh tests/setup/python.sh "$(PYTHON)" "$(VENV)"
	@touch $@

setup: $(VENV)/.ready

# Dovecot, Postfix, Redis and PostgreSQL, for the live tests: installed where root may, named where not. And emulate,
# which plays Gmail, where there is Node.js.
servers:
	@sh tests/setup/servers.sh
	@sh tests/setup/emulate.sh

demo: setup
	@$(BIN)/python tests/demo/demo.py

mail: setup
	@sh tests/setup/servers.sh
	@$(BIN)/python -m tests.examples.mail mail.env

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: setup
	$(BIN)/python -m pytest -m "not live"

# By several processes, each with servers of its own; a file's tests stay together.
test: setup servers lint
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

# What the whole worker does, on real servers; half an hour.
bench: setup servers
	@PYTHONPATH=. $(BIN)/python -m tests.benchmarks.load $(ARGS)

chaos: setup servers
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS)) \
		$(if $(NOTICES),--notices $(NOTICES)) $(ARGS)

rivals: setup
	@PYTHONPATH=. $(BIN)/python tests/benchmarks/rivals.py $(if $(CORPUS),--corpus $(CORPUS)) $(ARGS)

budget: setup servers
	@PYTHONPATH=. $(BIN)/python tests/benchmarks/budget.py

fuzz: setup
	@$(BIN)/python -c "import atheris" 2> /dev/null || $(BIN)/python -m pip install -qq -e '.[fuzz]'
	@PYTHONPATH=. $(BIN)/python tests/fuzz/seeds.py fuzz-data/seeds
	@mkdir -p fuzz-data/kept
	PYTHONPATH=. $(BIN)/python tests/fuzz/fuzz_detect.py fuzz-data/kept fuzz-data/seeds -dict=tests/fuzz/words.dict \
		-max_len=16384 -timeout=10 -max_total_time=$(SECONDS) -print_final_stats=1 -artifact_prefix=fuzz-data/

# Known vulnerabilities of what is pinned, where their data can be reached; what couldn't be looked up is listed.
audit: setup
	@$(BIN)/python -c "import pip_audit" 2> /dev/null || $(BIN)/python -m pip install -qq pip-audit
	$(BIN)/python -m pip_audit --disable-pip --require-hashes -r tests/constraints.txt

pins:
	@sh tests/setup/pins.sh

clean:
	rm -rf $(VENV) .emulate demo-data crm-data fuzz-data .mypy_cache .ruff_cache .import_linter_cache .hypothesis
