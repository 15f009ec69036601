# make sweep   install and run the shipped sweep
# make test    install, check and test
# make coverage               the tests again, with the share of the lines and branches that they run
# make experiments             run sweeps/embedded/*.yaml, one after the other; NAME=h3 runs one
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: install sweep test test-all coverage check format experiments benchmark clean

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
	$(PYTEST) -m "not slow and not gpu"

test-all: check
	$(PYTEST) -m "not gpu"

# Not part of `test`: tracing every line slows it by more than a seventh where Python lacks sys.monitoring (below 3.12).
coverage: $(INSTALLED)
	$(PYTEST) -m "not slow and not gpu" --cov --cov-report=term-missing

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A rejected or inconclusive sweep (4, 5) is a result; anything else stops the rest.
NAME ?= *
NOISY := data/noisy/train_manifest_expanded.jsonl data/noisy/domain_manifest.jsonl

experiments: $(INSTALLED) $(NOISY)
	@for sweep in sweeps/embedded/$(NAME).yaml; do \
		echo "== $$sweep"; code=0; $(BIN)/orchestrate $$sweep --quiet || code=$$?; \
		case $$code in 0|4|5) ;; *) exit $$code;; esac; \
	done

data/noisy/%.jsonl: data/%.jsonl | $(INSTALLED)
	rm -f $@
	$(BIN)/orchestrate manifest noisy $< $@ --snr 0:15 --band 300:3400 --speed 0.9:1.1 --seed 1

benchmark: $(INSTALLED)
	$(BIN)/python benchmarks/makespan.py

clean:
	rm -rf .venv build dist *.egg-info
