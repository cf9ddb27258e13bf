# Two commands: `make demo` and `make test`. Both set up a virtual environment once.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.venv/ready: constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip -c constraints.txt
	$(BIN)/python -m pip install --quiet torch==2.13.0 -c constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[generate,dask,test,docs,dev]'
	touch $@

.PHONY: setup demo test lint docs clean
setup: .venv/ready

demo: setup
	$(BIN)/ffbench evaluate reference_models:painn --suite mini --out runs/demo --workers 2

test: setup
	$(BIN)/python -m pytest -n 2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

clean:
	rm -rf .venv runs
