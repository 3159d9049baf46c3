# Each target makes what it needs: a virtual environment in .venv, and on Debian the system packages it is missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TESTED := $(VENV)/.installed-test
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help serve test bench lint kernels clean
.DELETE_ON_ERROR:
export PYTHON

help: ## this text
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

serve: $(INSTALLED) ## set up and run the relay; options: make serve ARGS="--port 9000"
	$(BIN)/relay serve $(ARGS)

# Two, as many as a small machine has cores; files go whole to one of them. TEST_PROCESSES=0: all in one process, for debuggers.
TEST_PROCESSES ?= 2

test: $(TESTED) ## set up and pass the tests; options: make test ARGS="-k sdp"
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=recurse lint kernels
	$(BIN)/python -m pytest --numprocesses=$(TEST_PROCESSES) --dist=loadfile $(ARGS)

bench: $(TESTED) ## measure; options: make bench ARGS="forward --subscribers 50"
	$(BIN)/relay bench $(or $(ARGS),forward)

lint: $(TESTED) ## style, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

kernels: $(TESTED)
	$(BIN)/relay warm-up
	$(BIN)/python -c 'from bench.direct import warm_up; warm_up()'

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
