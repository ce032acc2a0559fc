VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TPM_STAMP := $(VENV)/.installed-tpm
PYTHON ?= python3
REPORT ?= sedlab-report

.PHONY: help setup check test test-tpm test-kernel test-wheel soak evaluate power-sweep faults bench fuzz vectors matrix matrix-served hooks clean

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

test-tpm: $(TPM_STAMP) ## the suite of secure elements, on the embedded one and on a TPM in software
	$(BIN)/pytest -q -n auto --need-tpm \
		hil_tests/test_secure_element.py hil_tests/test_element_*.py hil_tests/test_tpm_*.py

# swtpm is the TPM; the rest is what building its Python binding takes.
$(TPM_STAMP): $(STAMP)
	@packages="swtpm libtss2-dev pkg-config gcc libc6-dev"; \
	headers=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))'); \
	[ -e "$$headers/Python.h" ] || packages="$$packages python3-dev"; \
	if swtpm --version >/dev/null 2>&1 && gcc --version >/dev/null 2>&1 \
		&& pkg-config --exists tss2-esys 2>/dev/null && [ -e "$$headers/Python.h" ]; \
		then exit 0; fi; \
	if ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ]; then \
		echo "lacking a TPM in software: on Debian, as root, apt-get install $$packages"; exit 1; \
	fi; \
	apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
		apt-get -qq install --no-install-recommends $$packages >/dev/null
	$(BIN)/python -m pip install --quiet --editable '.[test,tpm]'
	@touch $@

test-kernel: $(STAMP) ## a real Linux kernel, in a virtual machine without KVM, judges each way in
	$(BIN)/python -m hil_tests.kernel.packages
	$(BIN)/pytest -q --kernel -n auto --dist loadgroup --no-loadscope-reorder \
		hil_tests/kernel

soak: $(STAMP) ## half an hour at full load in the kernel lab, while plugs are pulled
	$(BIN)/python -m hil_tests.kernel.packages
	$(BIN)/python -m hil_tests.soak

test-wheel: $(STAMP) ## install the wheel into an empty environment and evaluate there
	rm -rf $(VENV)/wheel
	$(PYTHON) -m venv $(VENV)/wheel/env
	$(VENV)/wheel/env/bin/python -m pip wheel --quiet --no-deps --wheel-dir $(VENV)/wheel .
	$(VENV)/wheel/env/bin/python -m pip install --quiet $(VENV)/wheel/sedlab-*.whl
	cd $(VENV)/wheel && env/bin/sedlab evaluate model:keypad --depth survey --out report

evaluate: $(STAMP) ## judge the reference drives, and write a report
	$(BIN)/sedlab evaluate model:native model:keypad --out $(REPORT)

power-sweep: $(STAMP) ## cut the reference drives' power everywhere, once and twice
	$(BIN)/sedlab power-sweep model:native
	$(BIN)/sedlab power-sweep model:keypad

faults: $(STAMP) ## have every part of the reference drives fail in every way
	$(BIN)/sedlab faults model:native
	$(BIN)/sedlab faults model:keypad

matrix: $(STAMP) ## which property finds which defect
	$(BIN)/sedlab defects matrix

matrix-served: $(STAMP) ## each defect over USB/IP as in process, step by step
	$(BIN)/python -m hil_tests.compare_served

bench: $(STAMP) ## every benchmark, each beside its rival
	@for each in hil_tests/bench_*.py; do \
		$(BIN)/python -m hil_tests.$$(basename $$each .py) || exit 1; done

fuzz: $(STAMP) ## servers under clients that say anything: 100,000 messages each
	$(BIN)/python -m hil_tests.fuzz_usbip
	$(BIN)/python -m hil_tests.redirection.fuzz

vectors: $(STAMP) ## cases of the published vectors: how many ran, how many passed
	$(BIN)/python -m hil_tests.vectors

hooks: $(STAMP) ## have git run the checks before each commit
	git config core.hooksPath .hooks

clean: ## remove what the targets made
	rm -rf $(VENV) $(REPORT) build *.egg-info
