# Needs git, make and Python 3.11 or newer, and installs the rest into .venv, once.
# Another interpreter: make test PYTHON=python3.12. More for pytest: make test PYTEST_FLAGS="-k windows".

PYTHON ?= python3
PYTEST_FLAGS ?=
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check -qq
# Stamps: an install is repeated only when pyproject.toml is newer.
RUNTIME := $(VENV)/.installed-runtime
DEVELOPMENT := $(VENV)/.installed-development
CLIP := examples/photographs.mp4
DEMO := build/demo.mp4

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test bench docs format format-check lint types check wheel clean

help:  ## Show what can be made
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

demo: $(RUNTIME)  ## Predict on the example clip, and say where the video lies
	@mkdir -p $(dir $(DEMO))
	$(PY) -m saliency_cli predict $(CLIP) -o $(DEMO) --overwrite
	@echo "The video with the heatmap over it lies at $(DEMO)"

test: $(DEVELOPMENT)  ## Run the tests
	$(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal $(PYTEST_FLAGS)

bench: $(DEVELOPMENT)  ## Measure how fast things are, and write benchmarks/results
	$(PY) benchmarks/metrics.py
	$(PY) benchmarks/speed.py

docs: $(DEVELOPMENT)  ## Write the pages and figures of docs/ that are made from the code
	$(PY) docs/generate.py
	$(PY) docs/figures.py

format: $(DEVELOPMENT)  ## Bring the code into its form
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

format-check: $(DEVELOPMENT)
	$(PY) -m ruff format --check .

lint: $(DEVELOPMENT)
	$(PY) -m ruff check .

types: $(DEVELOPMENT)
	$(PY) -m mypy

check: format-check lint types test  ## Format, lint, types and tests: what a change must pass

wheel: $(DEVELOPMENT)  ## Build the wheel into dist/, embedded weights included
	$(PIP) wheel --no-deps --wheel-dir dist .
	@ls -l dist/*.whl

clean:  ## Remove what was made, the virtual environment included
	rm -rf build dist $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "vsal needs Python 3.11 or newer; name one: make PYTHON=python3.11" >&2; exit 1; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(RUNTIME): pyproject.toml | $(PY)
	@echo "Installing vsal and what it needs into $(VENV): once, for a few minutes"
	@$(PIP) install --editable .
	@touch $@

$(DEVELOPMENT): pyproject.toml | $(PY)
	@echo "Installing vsal and what its tests need into $(VENV): once, for a few minutes"
	@$(PIP) install --editable '.[dev]'
	@touch $(RUNTIME) $@
