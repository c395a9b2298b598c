# make test   the test suite        make demo   data -> training -> AP -> report, in runs/demo
# make lint   ruff                  make clean  removes what these made, but never runs/
# Needs Python 3.11 and make; everything else goes into .venv (once, until setup.cfg changes).

PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed

.DEFAULT_GOAL := test
.PHONY: install test demo lint clean

$(STAMP): setup.cfg pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 or run make PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --editable ".[test]"
	@touch $@

install: $(STAMP)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

demo: $(STAMP)
	$(BIN)/keras-fpn demo

lint: $(STAMP)
	$(BIN)/ruff check .

clean:
	rm -rf $(VENV) build dist keras_fpn.egg-info .pytest_cache .ruff_cache .hypothesis
