# Every target does the set-up it needs: a virtual environment, the pinned libraries, the data.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PROTOCOL ?= quick
# One worker for each processor; a worker that runs out of tests takes some of another's.
PARALLEL ?= -n auto --dist worksteal

.PHONY: help install demo reproduce evidence test test-fast check docs notebooks report report-check bench gpu mutants chaos lock audit clean

help:
	@echo "make reproduce   train and report Table 1 on real MNIST at protocol quick (PROTOCOL=smoke|quick|standard|paper)"
	@echo "make demo        draw a page about all runs in this repository, to open in a browser (half a minute; trains nothing)"
	@echo "make evidence    start or continue the long runs behind reports/README.md; you can stop it at any time"
	@echo "make test        run the tests on all processors"
	@echo "make test-fast   run the tests that are not marked slow (no killed processes, clusters or databases)"
	@echo "make check       check lint, format and types"
	@echo "make docs        build the documentation in docs/_build/html (needs a network only the first time)"
	@echo "make notebooks   run the notebooks again and keep their outputs"
	@echo "make mutants     break the mathematics in over 100 ways; a test must catch each (a quarter of an hour)"
	@echo "make bench       compare the speed of training with other libraries (10 minutes on two quiet cores)"
	@echo "make gpu         pack everything for a short run on a GPU without a network into gpu.tar"
	@echo "make chaos       try over 200 random SIGKILLs and 10,000 hostile inputs (a quarter of an hour)"
	@echo "make lock        write requirements.lock: every library except torch, with its hashes"
	@echo "make audit       look for known vulnerabilities of the pinned libraries (needs pip-audit and its database)"
	@echo "make report      draw reports/ from results/"
	@echo "make report-check  check that reports/ agrees with results/ (a minute or more, in which it prints nothing)"
	@echo "make install     install the environment in $(VENV), and nothing else"

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vdae-bench needs Python 3.11 or newer; run make PYTHON=python3.12 ...")'
	@echo "1 of 3: making a virtual environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)
	@echo "2 of 3: installing PyTorch, by far the largest download"
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt torch
	@echo "3 of 3: installing the other pinned libraries and this package; this prints nothing for a minute or two"
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[test,dev]'
	@echo "installed: $(BIN)/vdae-bench$(if $(filter install,$(MAKECMDGOALS)),. Next: make demo or make reproduce)"
	@touch $@

install: $(VENV)/installed

demo: install
	$(BIN)/vdae-bench report --home

reproduce: install
	$(BIN)/vdae-bench reproduce table1 --protocol $(PROTOCOL)

evidence: install
	$(BIN)/vdae-bench reproduce table2 --protocol paper-mixed --no-search --only '*_vae_*' --only '*_lvdae_*' --seeds 1
	$(BIN)/vdae-bench reproduce table1 --protocol paper-mixed --no-search --only '*_vae_*' --only '*_lvdae_*' --seeds 1
	$(BIN)/vdae-bench sweep evidence/binary --search
	$(BIN)/vdae-bench sweep evidence/continuous --search
	$(BIN)/vdae-bench sweep lvdae-784 --protocol standard
	$(BIN)/vdae-bench sweep evidence/noise
	$(BIN)/vdae-bench sweep logits
	$(BIN)/vdae-bench sweep section6

test: install
	$(BIN)/python -m pytest $(PARALLEL)

test-fast: install
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

docs: $(VENV)/installed-docs
	$(BIN)/python -m pytest tests/repository/test_documentation.py vdae_bench/api.py vdae_bench/models
	$(BIN)/python -m sphinx -q --fail-on-warning --keep-going --fresh-env --write-all -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

notebooks: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[notebooks]'
	$(BIN)/python scripts/notebooks.py

report: install
	$(BIN)/vdae-bench report
	$(BIN)/python scripts/readme.py

report-check: install
	$(BIN)/vdae-bench report --check
	$(BIN)/vdae-bench claims --check

bench: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/vdae-bench bench

gpu: install
	PYTHON=$(BIN)/python scripts/gpu.sh pack

mutants: install
	$(BIN)/python tests/mutants.py

chaos: install
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.chaos.kills
	VDAE_BENCH_CHAOS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/chaos
	$(BIN)/vdae-bench report

lock: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip-tools
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  --no-emit-options --no-header --no-annotate --extra test --extra dev --extra cluster --build-deps-for editable --unsafe-package torch \
	  --constraint constraints.txt --output-file requirements.lock pyproject.toml
	sed -i '/^# WARNING/,$$d' requirements.lock  # that torch is not in it, which is meant

audit: install
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

clean:
	rm -rf $(VENV) build dist docs/_build docs/_generated .pytest_cache .mypy_cache .ruff_cache
