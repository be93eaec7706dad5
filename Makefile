# make demo: set up and run the default; make test: set up and run the tests; make check: lint and types; make report:
# the documents' tables from the committed rows; make docs: the documents as a site, site/index.html.
# A second call installs nothing: the stamps in .venv are newer than pyproject.toml.

# The first Python on the path that really runs and is 3.11 or newer; override with `make PYTHON=…`.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check report docs clean

demo: $(VENV)/.installed
	$(BIN)/python run.py

# A file of tests stays in one process; processes that start others would fight for the cores with more threads than one.
test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

# Tables and figures in README.md, docs/ and measured/ from the committed rows.
report: $(VENV)/.installed
	$(BIN)/python report.py --rebuild $$(grep -rlE --include='*.md' '^<!-- report.py .* -->$$' README.md docs measured)

# A link that leads nowhere, or a page that would load anything from the network, is an error.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=true $(BIN)/python -m mkdocs build --strict --quiet
	$(BIN)/python docs/generate/check_site.py site

clean:
	rm -rf $(VENV) build site *.egg-info

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer on the path; install one, or: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@ $(VENV)/.installed
