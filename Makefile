# Every target works in a virtual environment of its own, $(VENV), made on first use and brought up to date when a
# source file changes. It takes Python 3.10 or newer with its headers, make and a C compiler.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml setup.py $(shell find csrc cnnfast -name '*.[ch]' -o -name '*.inc' -o -name '*.py[xd]')

.PHONY: demo test nightly docs lint format bench bench-claims bench-kernels bench-networks bench-footprint bench-accuracy bench-peers build clean

demo: $(VENV)/with-image,plot   # train on the digits that come with the package; pictures into demo/
	$(BIN)/python examples/digits.py --out demo

test: $(VENV)/with-test   # make test ARGS="-k conv2d -x"
	$(BIN)/python -m pytest -n auto --maxprocesses 4 $(ARGS)

nightly: $(VENV)/with-test,examples,keras,torch   # the long checks; Fashion-MNIST in full, Keras and PyTorch beside us among them
	$(BIN)/python -m pytest -m nightly $(ARGS)

docs: $(VENV)/with-docs   # the site, course and all, into docs/_build/html
	$(BIN)/python -m sphinx -M html docs docs/_build --fail-on-warning --keep-going --quiet $(ARGS)

lint: $(VENV)/with-dev
	$(BIN)/ruff check .
	PATH="$(abspath $(BIN)):$$PATH" cython-lint cnnfast
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror csrc/*

format: $(VENV)/with-dev
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i csrc/*

bench: $(VENV)/with-bench   # against the strongest NumPy; make bench ARGS="-k conv2d"
	$(BIN)/python -m pytest -q benchmarks -o python_files='bench_*.py' -o python_functions='bench_*' \
	    --benchmark-sort=name --benchmark-columns=min,median,rounds $(ARGS)

# Against the frameworks, those that are there: `make bench-peers` installs them (1.5 GB) into $(VENV).
bench-claims bench-kernels bench-networks bench-footprint bench-accuracy: bench-%: $(VENV)/with-bench   # make bench-kernels ARGS=--quick
	$(BIN)/python -m benchmarks.$* $(ARGS)

bench-peers: $(VENV)/with-bench,peers

build: $(VENV)/with-dev   # dist/: source archive and wheel
	$(BIN)/python -m build

clean:
	rm -rf $(VENV) build dist demo docs/_build docs/curso

# The package, in place, with the extras named after "with-".
$(VENV)/with-%: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[$*]'
	@touch '$@'

$(BIN)/python:
	@$(PYTHON) -c 'import sys, ensurepip, sysconfig, os; \
	    sys.version_info >= (3, 10) or sys.exit("make: Python 3.10 or newer is needed, this is " + sys.version); \
	    header = sysconfig.get_path("include") + "/Python.h"; \
	    os.path.exists(header) or sys.exit("make: no " + header + ": install the Python headers (Debian: python3-dev)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip 'setuptools>=77' 'cython>=3.2' 'numpy>=2'
