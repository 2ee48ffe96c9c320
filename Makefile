# Everything runs in .venv, which the first command makes. `make help` lists the commands.

VENV := .venv
PY := $(VENV)/bin/python
RUN := $(VENV)/run.stamp
TEST := $(VENV)/test.stamp
NEWER := import sys; sys.exit(sys.version_info < (3, 11))

# The first Python here that is new enough; `make run PYTHON=/path/to/python` takes another.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	if $$python -c '$(NEWER)' 2>/dev/null; then echo $$python; break; fi; done)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help run test lint bench lock
.DEFAULT_GOAL := help

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

run: $(RUN) ## start the workbench (PORT=8000 for another port)
	@$(PY) app.py models fetch || [ $$? -eq 1 ]
	@exec $(PY) app.py serve

test: $(TEST) ## run the tests (ARGS="-k name" for some of them)
	@$(PY) app.py models fetch || [ $$? -eq 1 ]
	$(PY) -m pytest $(ARGS)

lint: $(TEST) ## check style, format and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: $(TEST) ## run the benchmarks (ARGS="start" for one of them)
	@$(PY) app.py models fetch || [ $$? -eq 1 ]
	$(PY) -m bench $(ARGS)

# What the image installs: every package of every platform with its hashes. The versions that it has stay until
# requirements.txt says otherwise; ARGS=--upgrade takes the newest.
lock: $(TEST) ## write requirements.lock from requirements.txt
	$(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" $(ARGS) requirements.txt --output-file requirements.lock

# A stamp says what is installed, so that a second start installs nothing and needs no network.
$(RUN): requirements.txt
	@if [ -z "$(PYTHON)" ]; then \
		echo "Parley needs Python 3.11 or newer, and there is none here. Install it, or name it: make run PYTHON=/path/to/python" >&2; exit 1; fi
	@if ! "$(PYTHON)" -c '$(NEWER)' 2>/dev/null; then \
		echo "Parley needs Python 3.11 or newer; $(PYTHON) is not." >&2; exit 1; fi
	@if ! $(PY) -c 'import pip; $(NEWER)' 2>/dev/null; then \
		"$(PYTHON)" -m venv --clear $(VENV) || { \
		echo "Python's venv module does not work here. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; fi
	@echo "Installing Parley's packages into $(VENV). This takes a minute or two, once."
	$(PY) -m pip install -r requirements.txt
	@touch $@

$(TEST): requirements-dev.txt $(RUN)
	$(PY) -m pip install -r requirements-dev.txt
	@touch $@
