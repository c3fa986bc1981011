# Every target does the set-up it needs: a virtual environment, the pinned libraries, the data.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PROTOCOL ?= quick
# A worker for each processor; who runs out of tests takes some of another's.
PARALLEL ?= -n auto --dist worksteal

.PHONY: help install demo reproduce evidence test test-fast check docs notebooks report report-check bench gpu mutants chaos lock audit clean

help:
	@echo "make reproduce   Table 1 on real MNIST at protocol quick (PROTOCOL=smoke|quick|standard|paper)"
	@echo "make demo        the page over all runs that are here, to open in a browser: ten seconds, no download, no training"
	@echo "make evidence    the long runs behind reports/README.md, or go on with them; stop it at any time"
	@echo "make test        the tests, on all processors"
	@echo "make test-fast   the same without those marked slow: processes that are killed, clusters, databases"
	@echo "make check       lint, format and types"
	@echo "make docs        the documentation, in docs/_build/html (after the first time without a network)"
	@echo "make notebooks   run the notebooks anew, and keep what they show"
	@echo "make mutants     break the mathematics on purpose, over 100 ways: a test must catch each (a quarter of an hour)"
	@echo "make bench       time our steps beside other ways of taking them (10 minutes on two quiet cores)"
	@echo "make gpu         a short loan of a GPU without a network: gpu.tar, with what it needs and scripts/gpu.sh"
	@echo "make chaos       over 200 random SIGKILLs and 10,000 hostile inputs: nothing may be lost or wrong (a quarter of an hour)"
	@echo "make lock        requirements.lock: every library but torch with its hashes"
	@echo "make audit       known vulnerabilities of the pinned libraries (needs pip-audit and its database)"
	@echo "make report      draw reports/ from results/"
	@echo "make report-check  whether reports/ is what results/ gives"
	@echo "make install     the environment alone, in $(VENV)"

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vdae-bench needs Python 3.11 or newer; run make PYTHON=python3.12 ...")'
	@echo "1 of 3: a virtual environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)
	@echo "2 of 3: PyTorch, the largest download by far"
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt torch
	@echo "3 of 3: the other libraries that constraints.txt pins, and this package; a minute or two without a word"
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[test,dev]'
	@echo "installed: $(BIN)/vdae-bench. Next: make demo, or make reproduce"
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
