VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= python3
REPORT ?= sedlab-report

.PHONY: help setup check test test-wheel evaluate bench vectors matrix hooks clean

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

setup: $(STAMP) ## make .venv with sedlab and all it takes to work on it

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

check: $(STAMP) ## format, lint, types, import contracts: seconds
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy firmware_model host_driver hil_tests
	$(BIN)/lint-imports

test: $(STAMP) ## everything that needs only pip
	$(BIN)/pytest -q -n auto hil_tests
	$(MAKE) --no-print-directory test-wheel

test-wheel: $(STAMP) ## install the wheel into an empty environment and evaluate there
	rm -rf $(VENV)/wheel
	$(PYTHON) -m venv $(VENV)/wheel/env
	$(VENV)/wheel/env/bin/python -m pip wheel --quiet --no-deps --wheel-dir $(VENV)/wheel .
	$(VENV)/wheel/env/bin/python -m pip install --quiet $(VENV)/wheel/sedlab-*.whl
	cd $(VENV)/wheel && env/bin/sedlab evaluate model:keypad --depth survey --out report

evaluate: $(STAMP) ## judge the reference drives, and write a report
	$(BIN)/sedlab evaluate model:native model:keypad --out $(REPORT)

matrix: $(STAMP) ## which property finds which defect
	$(BIN)/sedlab defects matrix

bench: $(STAMP) ## every benchmark, each beside its rival
	@for each in hil_tests/bench_*.py; do \
		$(BIN)/python -m hil_tests.$$(basename $$each .py) || exit 1; done

vectors: $(STAMP) ## cases of the published vectors: how many ran, how many passed
	$(BIN)/python -m hil_tests.vectors

hooks: $(STAMP) ## have git run the checks before each commit
	git config core.hooksPath .hooks

clean: ## remove what the targets made
	rm -rf $(VENV) $(REPORT) build *.egg-info
