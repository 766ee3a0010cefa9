# Needs GNU make and Python >= 3.11 with its venv module; everything else is installed into .venv.
PYTHON ?= python3
# Versions to hold to, e.g. `make test CONSTRAINTS=constraints.txt`; empty takes the newest that fit.
CONSTRAINTS ?=
# More words for JupyterLab, e.g. `make lab LAB_ARGS='--no-browser --port=9000'`.
LAB_ARGS ?=
# More words for pytest, e.g. `make test PYTEST_ARGS='-k scenario'`.
PYTEST_ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
UNJITTED := -m 'not (browser or packaging or slow)' --benchmark-disable
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

# Without compiled files every kernel start would parse the whole environment again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help lab test lint coverage figures calibration validation checksums strip constraints clean

help:
	@echo 'make lab         install, then open JupyterLab on the start notebook'
	@echo 'make test        install with the test tools, then check everything'
	@echo 'make lint        style and floors only'
	@echo 'make coverage    line coverage as pages in build/coverage'
	@echo 'make figures     every published figure beside the model, into build/figures'
	@echo 'make calibration fit the prices in data/calibration again'
	@echo 'make validation  what the model was held against, into docs'
	@echo 'make checksums   of published figures and recordings, after a change that is meant'
	@echo 'make strip       take outputs and widget state out of the notebooks'
	@echo 'make constraints write down the versions installed now'
	@echo 'make clean       remove .venv and everything generated'

lab: .venv/lab-installed
	$(BIN)/python -m jupyterlab $(AS_ROOT) $(LAB_ARGS) notebooks/00_start_here.ipynb

# Twice: as a user runs it, then with the compiler off, where coverage sees the lines of the kernels too.
test: lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest $(UNJITTED) --cov $(PYTEST_ARGS)

lint: .venv/test-installed
	$(BIN)/ruff check
	$(BIN)/lint-imports

coverage: .venv/test-installed
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest $(UNJITTED) --cov --cov-report=html:build/coverage $(PYTEST_ARGS)

figures: .venv/lab-installed
	$(BIN)/vdpa-lab figures --out build/figures

calibration: .venv/lab-installed
	$(BIN)/python -m vdpa_lab.migration.calibrate data/calibration

validation: .venv/lab-installed
	$(BIN)/python -m vdpa_lab.beside.validation docs
	$(BIN)/python -m vdpa_lab.plot.tour docs/pictures

# Of what came from outside: published figures and recordings. A change there has to be meant.
checksums:
	cd data && find published traces precopy -type f | LC_ALL=C sort | xargs sha256sum > SHA256SUMS

strip: .venv/lab-installed
	$(BIN)/jupyter nbconvert --log-level=WARN --clear-output --inplace \
	  --ClearMetadataPreprocessor.enabled=True --ClearMetadataPreprocessor.clear_cell_metadata=False \
	  --ClearMetadataPreprocessor.preserve_nb_metadata_mask=kernelspec notebooks/*.ipynb

constraints: .venv/test-installed
	@{ $(BIN)/python -c 'import sys; print("# Versions that the suite ran with on Python %d.%d; renewed by: make constraints" % sys.version_info[:2])'; \
	   $(BIN)/python -m pip freeze --exclude-editable; } > constraints.new && mv constraints.new constraints.txt

clean:
	rm -rf .venv build dist htmlcov .coverage .coverage.* .pytest_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	find vdpa_lab tests notebooks -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("vdpa_lab needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv

.venv/lab-installed: pyproject.toml | .venv/bin/python
	@echo 'Installing into .venv; the first time takes a minute or two.'
	$(PIP) -e '.[fit,sensitivity]'
	@touch $@

.venv/test-installed: pyproject.toml | .venv/bin/python
	@echo 'Installing into .venv; the first time takes a minute or two.'
	$(PIP) -e '.[test]'
	@touch $@ .venv/lab-installed
