# Everything starts from a bare checkout: each target sets up what it needs in .venv and says what it does.
SHELL := /bin/bash
PYTHON ?= python3
# Any PyTorch from 2.7 on works. For the small CPU build: make demo TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0
PORT ?= 8777
SET ?= eighteenth
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
# pip compiles one file after the other, this as many at once as there are cores
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true

.PHONY: help install demo serve test lint bench corpus held-out soak reliability

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

install: $(VENV)/.dev ## virtual environment with everything that development needs
demo: $(VENV)/.demo ## a server, a healthy training and a sick twin; prints the address to open
	@$(BIN)/python -m client_hook.cli demo --port $(PORT)
serve: $(VENV)/.demo ## the server alone, on http://127.0.0.1:8777
	@$(BIN)/python -m client_hook.cli serve --port $(PORT)
test: $(VENV)/.dev ## the whole test suite: real trainings, real servers, a real browser
	@$(BIN)/python -m tests.needs
	@$(BIN)/python -m compileall -q client_hook server tests benchmarks # each server of the suite starts in half the time
	$(BIN)/python -m pytest -n 3 --dist worksteal $(PYTEST)
reliability: $(VENV)/.dev ## the fault tests with the full counts: 50 kills, 8 ranks, 10 million calls; takes an hour
	GRADWATCH_COUNTS=full $(BIN)/python -m pytest -q -rP tests/faults tests/server/reliability/test_hooks.py \
	  tests/server/reliability/test_s09_backup.py tests/server/reliability/test_s11_deletion.py tests/server/reliability/test_s12_sizes.py $(PYTEST)
lint: $(VENV)/.dev ## style, types and the floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers 2
	$(BIN)/lint-imports
bench: $(VENV)/.dev ## the figures that the documentation claims (QUICK=--quick for the short form)
	$(BIN)/python -m benchmarks.footprint $(QUICK)
	$(BIN)/python -m benchmarks.range_test $(QUICK)
	$(BIN)/python -m benchmarks.overhead $(QUICK)
	@if $(BIN)/python -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then $(BIN)/python -m benchmarks.overhead_cuda $(QUICK); else echo "no GPU: benchmarks.overhead_cuda is left out"; fi
	$(BIN)/python -m benchmarks.overhead_profile $(QUICK)
	$(BIN)/python -m benchmarks.faults $(QUICK)
	$(BIN)/python -m benchmarks.ingest $(QUICK)
	$(BIN)/python -m benchmarks.backup $(QUICK)
	$(BIN)/python -m benchmarks.deletion $(QUICK)
	$(BIN)/python -m benchmarks.query $(QUICK)
	$(BIN)/python -m benchmarks.diagnosis $(QUICK)
	$(BIN)/python -m benchmarks.pages $(QUICK)
	$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python -m benchmarks.storage $(QUICK)

corpus: $(VENV)/.dev ## over 500 small trainings, healthy and sick: precision, recall, every miss and false alarm
	$(BIN)/python -m tests.corpus --write
held-out: $(VENV)/.dev ## trainings that no rule was tuned on (SET=first to eighteenth); reported as they come
	$(BIN)/python -m tests.corpus --held-out $(SET)
soak: $(VENV)/.dev ## ten long healthy trainings, none of which may raise a warning
	$(BIN)/python -m tests.corpus --soak --write

$(VENV)/.base:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Gradwatch needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo missing)."; \
	  echo "Mend it:  sudo apt-get install python3.11 python3.11-venv && make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@echo "[1/3] virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "Python has no venv module. Mend it:  sudo apt-get install python3-venv"; rm -rf $(VENV); exit 1; }
	@$(PIP) --upgrade pip
	@touch $@

$(VENV)/.torch: $(VENV)/.base
	@echo "[2/3] PyTorch ($(TORCH)): the largest part"
	@$(PIP) $(TORCH)
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	@echo "[3/3] Gradwatch with its server and the demo's data sets"
	@$(PIP) --editable '.[demo]'
	@$(COMPILE)
	@touch $@

$(VENV)/.dev: $(VENV)/.demo pyproject.toml
	@echo "[+] the tools of the test suite"
	@$(PIP) --group dev
	@$(COMPILE)
	@touch $@
