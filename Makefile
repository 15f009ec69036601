# make sweep   install and run the shipped sweep
# make test    install, check and test
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: install sweep test test-all check format experiments benchmark clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

sweep: $(INSTALLED)
	@$(BIN)/orchestrate sweeps/quickstart.yaml

test: check
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-all: check
	$(BIN)/python -m pytest -m "not gpu"

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(INSTALLED)
	$(BIN)/python benchmarks/makespan.py

clean:
	rm -rf .venv build dist *.egg-info
