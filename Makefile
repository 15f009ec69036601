# make sweep   install and run the shipped sweep
# make test    install, check and test
# make test-services          the tests that need the packages of an extra, which it installs
# make coverage               the tests again, with the share of the lines and branches that they run
# make experiments             run sweeps/recorded/embedded/*.yaml, one after the other; NAME=h1 runs one
# make screenshots            the pictures of docs/images, of the shipped sweep
# make vendor                 the plotting library of report.html, fetched again as published
# make soak                   MINUTES=5 SEED=1: small sweeps, killed, cut off, damaged; a table of what held
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: install sweep test test-all test-services coverage check format soak experiments screenshots vendor benchmark clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[dev]'
	touch $@

sweep: $(INSTALLED)
	@$(BIN)/orchestrate sweeps/quickstart.yaml

# One test process a core, each computing on one thread: cores shared between processes wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

test: check
	$(PYTEST) -m "not slow and not services"

test-all: check
	$(PYTEST) -m "not services"

# What needs the packages of an extra: they are installed beside those of `make install`, and a headless Chromium where
# there is none, with the programs of PostgreSQL. An MLflow server is another program and has its own environment.
# Tests that start a cluster of several nodes run one after the other: each takes all cores by itself.
CLUSTERS := $(addprefix tests/test_services_,ray.py partition.py slurm.py)

test-services: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[dev,deploy,browser,postgres,mlflow,tensorboard,wandb,ray]'
	$(BIN)/python -m tests.browser
	$(BIN)/python -m tests.postgres
	test -x .venv/mlflow/bin/mlflow || $(PYTHON) -m venv .venv/mlflow
	.venv/mlflow/bin/python -m pip install --quiet --disable-pip-version-check mlflow==3.17.2
	$(PYTEST) -m services $(CLUSTERS:%=--ignore=%)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m services $(CLUSTERS)

# Not part of `test`: tracing every line slows it by more than a seventh where Python lacks sys.monitoring (below 3.12).
coverage: $(INSTALLED)
	$(PYTEST) -m "not slow and not services" --cov --cov-report=term-missing

MINUTES ?= 5
SEED ?= 1

soak: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.soak --minutes $(MINUTES) --seed $(SEED)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The recorded experiments on the embedded corpus; NAME is one of them, or one of sweeps/embedded/. A phase takes what
# the phase before it decided, and the order of the names is the order of the phases. A rejected or inconclusive sweep
# (4, 5) is a result; anything else stops the rest.
NAME ?= *
SWEEPS = $(or $(wildcard sweeps/recorded/embedded/$(NAME).yaml),$(wildcard sweeps/embedded/$(NAME).yaml))

experiments: $(INSTALLED)
	$(if $(SWEEPS),,$(error no experiment is called $(NAME): see sweeps/recorded/embedded/ and sweeps/embedded/))
	@for sweep in $(sort $(SWEEPS)); do \
		echo "== $$sweep"; code=0; $(BIN)/orchestrate $$sweep --quiet || code=$$?; \
		case $$code in 0|4|5) ;; *) exit $$code;; esac; \
	done

# The pictures of docs/images, from the study of `make sweep`.
screenshots: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[dev,browser]'
	$(BIN)/python -m tests.browser
	$(BIN)/orchestrate sweeps/quickstart.yaml --quiet
	$(BIN)/python -m tests.screenshots quickstart

# The plotting library of report.html, as npm publishes it; `git diff` says whether what is here differs.
vendor:
	orchestrator/reporting/page/vendor/fetch.sh

benchmark: $(INSTALLED)
	$(BIN)/python benchmarks/makespan.py

clean:
	rm -rf .venv build dist *.egg-info
