# Everything is set up on first use; Python 3.11 or newer, pip and make are all that is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo backtest test test-long lint check generate bench clean contracts

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(READY)  ## a real morning in two minutes, in processes, and what was earned and lost
	$(BIN)/pipeline up topologies/quickstart.yaml

backtest: $(READY)  ## the same morning in one process, the same bytes each time
	$(BIN)/pipeline backtest topologies/backtest/asymmetric_lp.yaml

test: $(READY) contracts  ## the default test suite
	$(BIN)/python -m pytest -n auto -m "not long" tests

test-long: $(READY) contracts  ## soak, fuzz and scale
	$(BIN)/python -m pytest -n auto -m long tests

contracts: $(READY)  ## bytecode of Uniswap's contracts, from PyPI; tests of the embedded chain skip without it
	@$(BIN)/pipeline chain fetch || echo "no contracts: tests of the embedded chain skip"

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy engine nodes tools

generate: $(READY)  ## rewrite schemas/ and the node catalogue
	$(BIN)/python -m tools.generate

check: $(READY) lint  ## lint, generated files up to date, topologies valid and their tests pass
	$(BIN)/python -m tools.generate --check
	@for file in $$(find topologies -name '*.yaml' ! -name '_*' ! -name '*.test.yaml' ! -path '*/venues/*' ! -path '*/parts/*' | sort); do \
		$(BIN)/pipeline validate --offline $$file || exit 1; done
	$(BIN)/pipeline test topologies

bench: $(READY)  ## the benchmark table
	$(BIN)/python -m tools.bench

# The lock file decides every version; uv reads it and comes from PyPI like all the rest.
$(READY): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	$(BIN)/uv sync --quiet --frozen --all-extras --inexact
	touch $@

clean:  ## remove the environment and caches, not runs/
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
