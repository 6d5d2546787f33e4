# Thin names for the commands in the README. `make repro` needs Python 3.11 or later, git and make, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.ready
export PATH := $(BIN):$(PATH)

.PHONY: help env repro paper test test-slow bench effects ui lint papers clean
help:            ## this list
	@grep -E '^[a-z-]+: .*##' Makefile | sed -E 's/: .*## */\t/'

# Python compiles what it imports; to compile all of it beforehand takes twice as long as that saves. But where Python may
# not keep what it has compiled, every stage would compile torch anew.
env: $(READY)    ## the virtual environment, from locked versions
$(READY): requirements.lock setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@[ -z "$$PYTHONDONTWRITEBYTECODE" ] || $(BIN)/python -m compileall -q -j 0 $(VENV) > /dev/null 2>&1 || true
	@touch $@

repro: $(READY)  ## the quick-start: data, training, codes, scores, table and pictures
	hashrepro repro --workers 2
	@hashrepro show

paper: $(READY)  ## every table of both papers: hundreds of GPU-hours (hashrepro plan semicon)
	@failed=0; for suite in semicon schn; do hashrepro run $$suite || \
	    { code=$$?; [ $$code -lt 128 ] || exit $$code; failed=1; }; done; exit $$failed

test: $(READY)   ## the tests
	python -m pytest -n 2 --dist loadfile

test-slow: $(READY) ## the tests that try many moments and all combinations
	python -m pytest -m slow

bench: $(READY)  ## times against plain forms, into bench/results.csv (about 20 minutes)
	python tests/benchmarks/run.py

effects: $(READY) ## what a changed value does to the quick-start's scores; about 2 minutes a value
	hashrepro repro data/dvc.yaml:preprocess@fashion
	python tests/benchmarks/effects.py
	hashrepro deviations

ui: $(READY)     ## the MLflow UI on 127.0.0.1:5000
	hashrepro ui

lint: $(READY)   ## the linters
	ruff check .
	ruff format --check .

papers:          ## copy the pipeline of the root into papers/ after it was edited
	for suite in papers/*/params.yaml; do cp dvc.yaml $${suite%/*}/dvc.yaml; done
	for suite in papers/*/ablations/params.yaml; do sed -e 's/train\.$${item\.method}\./train.$${suite.method}./' \
	    -e 's/\[overrides\]/[overrides, "variants.$${item.method}"]/' \
	    -e 's/methods\/$${item\.method}\.py/methods\/$${suite.method}.py/' dvc.yaml > $${suite%/*}/dvc.yaml; done

clean:           ## remove what the pipeline made, not DVC's cache
	rm -rf runs work data/raw data/processed reports/* mlruns.db* mlartifacts
