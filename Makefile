# make demo    set up, then run the whole road on the embedded phantom (under five minutes on two cores)
# make test    set up, then run the tests
# make lint    set up, then check style, types and the order of imports
# make docs    set up, then build the documentation site into site/, strictly
# make setup   only set up: a virtual environment in .venv with everything that these need

PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test lint docs

setup: .venv/.complete

# Made anew when the requirements change; the marker is written last, so that an interrupted install is repeated.
.venv/.complete: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sonolearn needs Python 3.11 or newer: make PYTHON=python3.11")'
	if command -v uv >/dev/null; then \
		uv venv --quiet --clear --python $(PYTHON) .venv && \
		uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'; \
	else \
		$(PYTHON) -m venv .venv && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'; \
	fi
	touch $@

demo: setup
	$(BIN)/sonolearn demo --out demo

# As many processes as cores, one thread each: threads of several would fight.
test: setup
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n auto --maxprocesses 8

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup
	$(BIN)/mkdocs build --strict
