# Each target makes what it needs: a virtual environment in .venv, and on Debian the system packages it is missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TESTED := $(VENV)/.installed-test
# Compiling all that is installed takes longer than all the rest; what is used is compiled when it is first imported.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: help serve test bench lint kernels clean
.DELETE_ON_ERROR:
export PYTHON
# Where it is set, each start compiles several hundred modules anew, which takes a second.
unexport PYTHONDONTWRITEBYTECODE

help: ## this text
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

serve: $(INSTALLED) ## set up and run the relay; options: make serve ARGS="--port 9000"
	$(BIN)/relay serve $(ARGS)

# Two, as many as a small machine has cores; tests/conftest.py says which share one. TEST_PROCESSES=0: all in one, for debuggers.
TEST_PROCESSES ?= 2

test: $(TESTED) ## set up and pass the tests; options: make test ARGS="-k sdp"
	@$(MAKE) --no-print-directory kernels
	@# What can wait, beside what cannot; its output comes last.
	@nice $(MAKE) --no-print-directory lint >$(VENV)/lint.log 2>&1 & lint=$$!; \
	$(BIN)/python -m pytest --numprocesses=$(TEST_PROCESSES) --dist=loadscope $(ARGS); tested=$$?; \
	wait $$lint; linted=$$?; cat $(VENV)/lint.log; exit $$((tested | linted))

bench: $(TESTED) ## measure; options: make bench ARGS="forward --subscribers 50"
	$(BIN)/relay bench $(or $(ARGS),forward)

lint: $(TESTED) ## style, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

kernels: $(TESTED)
	$(BIN)/relay warm-up
	@# What benchmarks compile besides.
	$(BIN)/python -c 'from bench.direct import warm_up; warm_up()' & direct=$$!; \
	$(BIN)/python -c 'from bench.kernel_cases import warm_up; warm_up()' && wait $$direct

clean: ## remove what the other targets made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info

$(BIN)/python:
	@.ci/system-packages python
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml $(BIN)/python
	$(PIP_INSTALL) --editable .
	@touch $@

$(TESTED): pyproject.toml $(BIN)/python
	@.ci/system-packages test
	$(PIP_INSTALL) --editable '.[test,bench]'
	@touch $@ $(INSTALLED)
