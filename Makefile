# The commands there are. `make run` and `make test` need nothing but Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# Tests make hundreds of databases: where there is room for them in memory, no disk is waited for.
MEMORY := /dev/shm
MEMORY_FREE_KB = $(shell df -kP $(MEMORY) 2>/dev/null | awk 'NR == 2 { print $$4 }')
LOCKED := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

.PHONY: run demo test lint chaos mutants calibrate bench bench-large bench-experiments bench-pages picture lock clean

run: $(VENV)/.service  ## Start Takt with a database of its own
	@$(BIN)/takt serve

demo: $(VENV)/.service  ## Serve a simulated company: twelve weeks, played in about a minute
	@$(BIN)/takt demo

test: $(VENV)/.dev $(VENV)/.browser  ## Everything that must hold
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	@echo "$(BIN)/pyright, beside the tests; what it finds is told at the end"
	@$(BIN)/pyright > $(VENV)/pyright.txt & types=$$!; \
	if [ "0$(MEMORY_FREE_KB)" -gt 4000000 ] && ! grep -q ' $(MEMORY) .*noexec' /proc/mounts; then \
		scratch=$$(mktemp -d $(MEMORY)/takt-test-XXXXXX); chmod 711 "$$scratch"; \
		trap 'rm -rf "$$scratch"' EXIT; trap 'exit 130' INT TERM; \
		export TMPDIR="$$scratch" TAKT_TEST_DATA_DIR="$$scratch/data"; \
	fi; \
	$(BIN)/pytest -n 3 --no-loadscope-reorder; tested=$$?; \
	wait $$types; typed=$$?; cat $(VENV)/pyright.txt; exit $$((tested || typed))

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

chaos: $(VENV)/.dev  ## Ten minutes of kills and faults; writes docs/chaos.md. And a million forged tokens, and a list whole
	$(BIN)/python -m tests.chaos
	TAKT_TOKENS=1000000 TAKT_SAMPLE_EVERY=1 $(BIN)/pytest -q tests/operations/test_links.py tests/scenarios/test_hillstrom.py

mutants: $(VENV)/.dev  ## Deliberate faults, each of which must be caught
	$(BIN)/python -m tests.chaos.mutants

calibrate: $(VENV)/.dev  ## An hour and a half of simulated experiments; writes docs/statistics.md, calibration-service.md
	$(BIN)/python -m tests.calibration
	$(BIN)/python -m tests.calibration.service

bench: $(VENV)/.dev  ## Measures speed; writes bench/results.md
	$(BIN)/python -m bench

bench-large: $(VENV)/.dev  ## The same at 10,000,000 customers
	$(BIN)/python -m bench --large

bench-experiments: $(VENV)/.dev  ## Assignment and readouts beside other libraries
	$(BIN)/python -m bench --experiments

bench-pages: $(VENV)/.dev  ## Every page of the demo, and with 100 experiments
	$(BIN)/python -m bench --pages

picture: $(VENV)/.dev $(VENV)/.browser  ## The demo's readout as the README shows it
	$(BIN)/python -m tests.browser.picture

lock: $(VENV)/.dev  ## Pin the newest dependencies that pyproject.toml admits
	$(BIN)/uv pip compile -q -U $(LOCKED) --extra service --group build pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q -U $(LOCKED) --extra service --group build --group dev --group bench -c requirements.lock \
		pyproject.toml -o requirements-dev.lock

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Takt needs Python 3.11 or newer: make run PYTHON=python3.12"; exit 1; }
	@echo "Setting up $(VENV) (once, about a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.service: $(VENV)/.python requirements.lock pyproject.toml
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.service requirements-dev.lock
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

# The tests of pages want a Chromium. Root gets Debian's; everybody else is told, and those tests are skipped.
$(VENV)/.browser: $(VENV)/.python
	@command -v chromium chromium-browser google-chrome >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "Installing chromium ..." && \
		{ apt-get install -qq -y --no-install-recommends chromium >/dev/null 2>&1 || \
		{ apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium >/dev/null; }; }; } || \
		echo "There is no Chromium: the tests in tests/browser will be skipped."
	@touch $@

clean:  ## Forget the environment and caches; the database in .takt stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
