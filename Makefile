# `make demo` and `make test` do all the set-up they need.
.DEFAULT_GOAL := help
.PHONY: help setup setup-python demo demo-down test unit integration acceptance soak bench simulate lint format lock clean

PYTHON ?= python3
RUN := .venv/bin/python
# More than two cores: tests wait for engines and servers.
WORKERS ?= 4
XDIST := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
export PYTHONPATH := $(CURDIR)

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup:  ## virtual environment and Pulumi engine; skips what is there
	@$(PYTHON) tools/setup.py

setup-python:
	@$(PYTHON) tools/setup.py --no-engine

demo: setup  ## sell three plans through the local Stripe and prove the three tenants isolated
	@$(RUN) -m localcloud.demo

demo-down: setup-python  ## stop everything that the demo left running, and its data
	@bin/tenantry local down

test: setup  ## every test but the soak tests
	$(RUN) -m pytest $(XDIST) -m "not soak" $(PYTEST_ARGS)

unit: setup-python  ## tests that need no service
	$(RUN) -m pytest $(XDIST) tests/unit $(PYTEST_ARGS)

integration: setup  ## real Postgres, moto server, Pulumi engine
	$(RUN) -m pytest $(XDIST) -m "not soak" tests/integration $(PYTEST_ARGS)

acceptance: setup  ## the product as a user starts it
	$(RUN) -m pytest $(XDIST) -m "not soak" tests/acceptance $(PYTEST_ARGS)

soak: setup  ## crashes at every point, long histories: tens of minutes
	$(RUN) -m pytest $(XDIST) -m soak $(PYTEST_ARGS)

bench: setup  ## every benchmark, each against its baseline in the same run
	$(RUN) -m benchmarks

simulate: setup-python  ## ten times two years of a thousand customers, with every fault of delivery
	$(RUN) -m localcloud.simulation --seeds 10 --jobs 2

lint: setup-python  ## ruff, mypy strict, import direction
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy .
	.venv/bin/lint-imports

format: setup-python
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

lock:  ## renew requirements.lock from pyproject.toml
	uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-header --no-annotate \
	  --group control-plane --group local --group dev pyproject.toml -o requirements.lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
