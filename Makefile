PYTHON ?= python3
BIN := .venv/bin
# -qq: print errors only.
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
LOCKED := .venv/.locked
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup test test-full check format demo bench record diagrams pictures lock

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1#\2/p' Makefile | tr '#' '\t' | expand -t 18

setup: $(READY) ## make .venv from requirements.lock; quick when nothing changed
	@echo "Ready: $(BIN)/python"

# Tests start many processes; compiled bytecode makes each start faster.
test: export PYTHONDONTWRITEBYTECODE :=
test: check ## run everything that a change must pass
	@echo "pytest"
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

# One after the other: several play a thousand lifecycles, each with its own server.
test-full: export PYTHONDONTWRITEBYTECODE :=
test-full: $(READY) ## run the tests that take longer, after `make test`
	@echo "pytest -m full"
	@$(BIN)/python -m pytest -m full

check: $(READY) ## check format, lint, types and import contracts
	@echo "ruff format --check"
	@$(BIN)/ruff format --quiet --check .
	@echo "ruff check"
	@$(BIN)/ruff check --quiet .
	@echo "mypy --strict"
	@$(BIN)/mypy --num-workers 2
	@echo "lint-imports"
	@$(BIN)/lint-imports --no-logo

format: $(READY) ## format the code
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

demo: $(READY) ## play the whole story on the embedded stack; EXIT=1 exits afterwards
	@$(BIN)/python starter.py demo $(if $(EXIT),--exit)

bench: $(READY) ## run the benchmarks, in about ten minutes; FULL=1 adds 10,000 rows
	@$(BIN)/python -m bench $(if $(FULL),--full)

record: $(READY) ## record the histories for the replay tests
	@$(BIN)/python -m tests.replay.record

diagrams: $(READY) ## draw the machines into the documents
	@$(BIN)/python -m tests.docs.draw

pictures: $(READY) ## take the pictures of the documents; needs Chromium
	@$(BIN)/python -m tests.docs.picture

lock: $(READY) ## write requirements.lock; UPGRADE=1 upgrades to newer releases
	@$(BIN)/uv pip compile pyproject.toml --group dev --output-file requirements.lock \
	  --universal --python-version 3.11 --generate-hashes $(if $(UPGRADE),--upgrade) \
	  --no-config --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --quiet

# Recreated when the lock changes, so that removed packages do not stay installed.
$(LOCKED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Seatflow needs Python 3.11 or newer: make PYTHON=...")'
	@echo "Making .venv from requirements.lock"
	@$(PYTHON) -m venv --clear .venv
	@$(PIP) install --require-hashes --requirement requirements.lock
	@touch $@

$(READY): $(LOCKED) pyproject.toml
	@$(PIP) install --no-index --no-build-isolation --no-deps --editable .
	@touch $@
