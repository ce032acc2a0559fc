VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= python3

.PHONY: setup check test clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy firmware_model host_driver hil_tests
	$(BIN)/lint-imports

test: $(STAMP)
	$(BIN)/pytest -q -n 2 hil_tests

clean:
	rm -rf $(VENV) build *.egg-info
