# One-machine use and development. `make demo` needs nothing but Python 3.11 to 3.13 and the network
# for the first installation; ARGS hands options on: make demo ARGS="--fast".
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.storeweave-ready
ARGS ?=

.PHONY: help setup demo test lint bench clean
.DEFAULT_GOAL := help

help:
	@echo "make setup   install StoreWeave and its tools into $(VENV)"
	@echo "make demo    run a whole federation on this machine and write a report  (ARGS=--fast)"
	@echo "make test    run the tests                                              (ARGS=tests/unit)"
	@echo "make lint    style, types, import law"
	@echo "make bench   measure this machine                                       (ARGS=ledger)"
	@echo "make clean   remove $(VENV) and caches"

setup: $(READY)

$(READY): pyproject.toml deploy/make_venv.sh
	@bash deploy/make_venv.sh "$(VENV)"
	@touch "$@"

demo: $(READY)
	@$(BIN)/storeweave demo $(ARGS)

test: $(READY)
	@$(BIN)/python -m pytest $(ARGS)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(READY)
	@$(BIN)/storeweave bench $(or $(ARGS),--help)

clean:
	rm -rf "$(VENV)" build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
