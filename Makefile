# make help lists the targets, from the `## ` comments below; make parity MODELS="..." compares some of the models.
# Needs Python 3.11 and make; everything else goes into .venv (once, until what is installed changes).

PYTHON ?= python3.11
VENV   ?= .venv
# The references' environment, apart from ours. detectron2 is no package of any index: DETECTRON2=FOLDER builds its source
# (two minutes); without it, its conventions on torchvision's operators stand in, and the table says so.
PARITY_VENV ?= .venv-parity
PARITY_STAMP := $(PARITY_VENV)/installed
WHEEL_VENV ?= .venv-wheel
OLDEST_VENV ?= .venv-oldest
NEWEST := tests/constraints/newest.txt
OLDEST := tests/constraints/oldest.txt
PYTEST := -m pytest -n 2 --dist loadfile --no-loadscope-reorder
DETECTRON2 ?=
MODELS ?=
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed

.DEFAULT_GOAL := test
.PHONY: help install test test-oldest test-all demo lint types package parity clean

$(STAMP): setup.cfg pyproject.toml $(NEWEST)
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 or run make PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --constraint $(NEWEST) --editable ".[test]"
	@touch $@

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv with this package and all that its tests need

test: $(STAMP) ## the test suite without its slow part
	$(BIN)/python $(PYTEST)

$(OLDEST_VENV)/installed: setup.cfg pyproject.toml $(OLDEST)
	$(PYTHON) -m venv $(OLDEST_VENV)
	$(OLDEST_VENV)/bin/python -m pip install --disable-pip-version-check --constraint $(OLDEST) --editable ".[test]"
	@touch $@

test-oldest: $(OLDEST_VENV)/installed ## the same with the oldest versions of what it needs
	$(OLDEST_VENV)/bin/python $(PYTEST)

test-all: $(STAMP) test-oldest ## the test suite with its slow part, and test-oldest
	$(BIN)/python $(PYTEST) -m ""

demo: $(STAMP) ## data -> training -> AP -> report and exports, in runs/demo
	$(BIN)/keras-fpn demo

lint: $(STAMP) ## ruff
	$(BIN)/ruff check .

types: $(STAMP) ## mypy on the package and export/
	$(BIN)/mypy

package: $(STAMP) ## build wheel and sdist, check them, and train from the wheel in an empty environment
	rm -rf build dist $(WHEEL_VENV)
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(PYTHON) -m venv $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip install --disable-pip-version-check --quiet dist/*.whl
	cd $(WHEEL_VENV) && bin/keras-fpn --help >/dev/null && bin/keras-fpn data shapes data --images 4 --val-images 2 --size 64 \
	  && bin/keras-fpn train tiny --data data --out run --set training.steps=2 training.steps_per_epoch=2 training.warmup_steps=0

$(PARITY_STAMP):
	$(PYTHON) -m venv $(PARITY_VENV)
	$(PARITY_VENV)/bin/python -m pip install --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 pillow==13.0.0 pycocotools==2.0.11
	@touch $@

parity: $(STAMP) $(PARITY_STAMP) ## the converted models against torchvision and detectron2, in runs/parity
ifneq ($(DETECTRON2),)
	@$(PARITY_VENV)/bin/python -c "import detectron2" 2>/dev/null || { \
	  $(PARITY_VENV)/bin/python -m pip install --disable-pip-version-check setuptools wheel ninja && \
	  $(PARITY_VENV)/bin/python -m pip install --disable-pip-version-check --no-build-isolation "$(DETECTRON2)"; }
endif
	$(BIN)/python benchmarks/parity/run.py --reference $(PARITY_VENV)/bin/python --out runs/parity $(MODELS)

clean: ## remove what these made, but never runs/
	rm -rf $(VENV) $(PARITY_VENV) $(WHEEL_VENV) $(OLDEST_VENV) build dist keras_fpn.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
