# The two commands of the README are `make demo` and `make test`; both set up what they need.
PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

.PHONY: help demo test lint docs model clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    set up, render synthetic people, train DLIS on them, write demo/report.html"
	@echo "make test    set up, run all checks and tests"
	@echo "make lint    set up, ruff and mypy"
	@echo "make model   set up, render synthetic people, train the model synvi-lite0 on them, build its wheel (hours)"
	@echo "make docs    build the documentation with its API reference into site/"
	@echo "make clean   remove the environment and the demo"

# Runs again only when the list of packages has changed.
$(STAMP): pyproject.toml constraints.txt models/pyproject.toml
	@echo "Installing vireid and its dependencies (PyTorch with CUDA, OpenVINO and others) into $(VENV)."
	@echo "This takes 2 to 5 minutes and 7 GB of disk space; pip prints nothing meanwhile."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1" -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		--editable ".[synvi,pretrained,tensorboard,wandb,app,export,video]" --editable ./models --group dev
	touch $(STAMP)
	@echo "Installed. Executables are in $(BIN)."

demo: $(STAMP)
	$(BIN)/vireid demo demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One thread a process: the tests' networks are tiny, and two processes share the cores.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal

model: $(STAMP)
	PATH="$(abspath $(BIN)):$$PATH" models/build.sh

# An environment of its own: the packages of the tests are not needed.
docs:
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check "pip>=25.1" -c constraints.txt
	$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group docs
	NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --strict

clean:
	rm -rf $(VENV) $(VENV)-docs demo site
