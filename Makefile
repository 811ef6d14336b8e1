# Everything a newcomer, a developer and CI call. `make demo` and `make test` set up what they need.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install develop demo test checks fast servers campaign fuzz bench clean

install: $(VENV)/.installed
develop: $(VENV)/.developed

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip==26.1 setuptools==84.2.1

$(VENV)/.installed: setup.py pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.developed: setup.py pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(VENV)/.installed

demo: install
	$(BIN)/python deploy/demo.py

test: develop
	FUZZ_SECONDS=10 tests/run checks fast fuzz servers

checks: develop
	tests/run checks

fast: develop
	tests/run fast

servers: develop
	tests/run servers

campaign: develop
	HYPOTHESIS_PROFILE=campaign tests/run campaign

fuzz: develop
	tests/run fuzz

bench: develop
	$(BIN)/nephrite bench decode
	$(BIN)/nephrite bench matrix --write docs/reference/benchmarks-pipeline.md

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
