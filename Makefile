# make demo | test | slow | interp | extras | web | playground | check | docs | wheel: each creates .venv and installs what it needs, the first time it is called.
PYTHON  ?= python3
WORKERS ?= 2
VENV    := .venv
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
RUN     := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m

.PHONY: help demo test slow interp extras web playground lint check docs wheel clean

help:
	@echo "make demo    predict on real tables with the shipped weights"
	@echo "make test    run the quick tests"
	@echo "make slow    run the tests that take seconds each"
	@echo "make interp  run the tests with TransformerLens, which it installs"
	@echo "make extras  run the tests with shap, MAPIE, openpyxl, Ray and Dask, which it installs"
	@echo "make web     build the playground's page, compare it with the shipped one, test it in Chromium"
	@echo "make playground  build the page that is shipped"
	@echo "make lint    ruff, pyright and the import rules"
	@echo "make docs    build the documentation into site/"
	@echo "make wheel   build the wheel and run the demo from it in a clean environment"
	@echo "make check   lint, test and docs"

demo: $(VENV)/.installed
	$(BIN)/openpfn demo

test: $(VENV)/.installed-dev
	$(RUN) pytest -n $(WORKERS) --dist loadfile --durations 10

slow: $(VENV)/.installed-dev
	$(RUN) pytest -n $(WORKERS) --dist loadfile --durations 30 -m "slow and not compile and not gpu and not interp and not extras"
	JAXTYPING_DISABLE=1 $(RUN) pytest -n $(WORKERS) --dist worksteal -m "compile and not gpu"

interp: $(VENV)/.installed-interp
	$(RUN) pip check
	$(RUN) pytest -m interp tests/models

extras: $(VENV)/.installed-extras
	$(RUN) pip check
	$(RUN) pytest -m extras

web: $(VENV)/.installed-dev
	@for tool in node npm clang wasm-ld chromium; do command -v $$tool >/dev/null \
	  || { echo "$$tool is missing: apt-get install nodejs npm clang lld chromium"; exit 1; }; done
	rm -rf build/page && mkdir -p build
	$(RUN) openpfn.playground.building build/page
	OMP_NUM_THREADS=1 $(BIN)/python tests/playground/parity_tables.py build/parity.json
	PLAYGROUND_PAGE=$(CURDIR)/build/page node --test web/tests/page.test.mjs
	PLAYGROUND_PAGE=$(CURDIR)/build/page PLAYGROUND_PARITY=$(CURDIR)/build/parity.json node --test web/tests/parity.test.mjs

playground: $(VENV)/.installed-dev
	$(RUN) openpfn.playground.building

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

check: lint test docs

docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel: $(VENV)/.installed-dev
	rm -rf dist build/wheel
	$(BIN)/python -m build --outdir dist
	$(PYTHON) -m venv build/wheel
	build/wheel/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt dist/openpfn-*.whl
	mkdir -p build/wheel/elsewhere
	cd build/wheel/elsewhere && ../bin/openpfn --version && ../bin/openpfn demo

clean:
	rm -rf build dist site .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "OpenPFN needs Python 3.11 or newer; say which: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --editable '.[dev]'
	@touch $@

$(VENV)/.installed-extras: $(VENV)/.installed-dev
	$(PIP) --editable '.[explain,conformal,excel,scale]'
	@touch $@

$(VENV)/.installed-interp: $(VENV)/.installed-dev
	$(PIP) --editable '.[interp]'
	@touch $@
