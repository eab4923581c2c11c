# Each purpose has one command; `make help` lists them. Everything is installed into .venv by the first that needs it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PORT ?= 3000
HEADLESS := $(shell sed -n 's/^opencv-python-headless==/&/p' constraints.txt)

export DAGSTER_HOME ?= $(CURDIR)/.dagster

.DEFAULT_GOAL := help
.PHONY: help setup demo ui test test-faults test-golden golden-tables test-readers test-all lint typecheck bench lock docs graph screenshots clean

help:  ## Show the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Install everything into .venv

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=...")'
	@echo "installing some 5 GB into $(VENV); pip says nothing meanwhile, which takes a few minutes and longer over a slow connection"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,docs]'
	# Two OpenCV packages are pulled in and share their files: the one that needs no display libraries goes last.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps '$(HEADLESS)'
	@mkdir -p .dagster && cp deploy/dagster.local.yaml .dagster/dagster.yaml
	@touch $@

demo: $(STAMP)  ## Generate sample videos, run the graph on them, say what to look at
	$(BIN)/curation demo

ui: $(STAMP)  ## Open the Dagster UI on http://127.0.0.1:3000 (PORT=3001 for another)
	@$(PYTHON) -c 'import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("127.0.0.1", $(PORT)))' 2>/dev/null \
	  || { echo "port $(PORT) is in use, perhaps by another make ui; say make ui PORT=3001"; exit 1; }
	$(BIN)/curation ui --port $(PORT)

test: $(STAMP)  ## Run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-faults: $(STAMP)  ## Kill, interrupt, race and damage runs on the shipped instance files
	$(BIN)/python -m pytest -n 2 -m faults

test-golden: $(STAMP)  ## Hold what the graph says of the golden videos against the tables that are kept
	$(BIN)/python -m pytest -m golden curation_assets_tests/golden

golden-tables: $(STAMP)  ## Write the golden tables anew, after a score has moved on purpose
	$(BIN)/python -m curation_assets_tests.golden.making

test-readers: $(STAMP)  ## Read an export with every reader of docs/how-to/reading.md, each in an environment that pip makes
	$(BIN)/python -m pytest -m '' curation_assets_tests/readers

test-all: $(STAMP)  ## Run the tests and the slow tier
	$(BIN)/python -m pytest -m ''

lint: $(STAMP)  ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(STAMP)  ## Check types
	$(BIN)/mypy

bench: $(STAMP)  ## Run the benchmarks at their small sizes
	@for b in benchmarks/[a-z]*.py; do echo "== $$b"; $(BIN)/python -m benchmarks.$$(basename $$b .py) || exit 1; done
	@for b in scale truth; do echo "== benchmarks/$$b"; $(BIN)/python -m benchmarks.$$b || exit 1; done

lock: $(STAMP)  ## Write the installed versions to constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//; s/ @ file.*//' | grep -v '^nvidia-\|^triton' > constraints.txt

docs: $(STAMP)  ## Write the references that are generated from the code, and build the site into site/
	$(BIN)/python -m curation_assets.reference docs
	NO_COLOR=1 $(BIN)/zensical build --strict --clean

graph: $(STAMP)  ## Draw the asset graph of the README; needs Graphviz
	$(BIN)/python -m docs.draw_graph

screenshots: $(STAMP)  ## Take the pictures of docs/how-to/ui.md of what `make demo` made; needs Chromium
	$(BIN)/python -m docs.make_screenshots

clean:  ## Remove what the commands made, the virtual environment included
	rm -rf $(VENV) .demo .dagster .cache build site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
