# Every target works from a fresh checkout with Python >= 3.11 and a Rust toolchain; `dev` makes the rest.

PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
PYTEST_ARGS ?=

BIN := $(abspath $(VENV))/bin
RUST_SOURCES := Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml)

# maturin installs into the active environment, and clippy must build for the same interpreter.
export VIRTUAL_ENV := $(abspath $(VENV))
export PYO3_PYTHON := $(BIN)/python
unexport CONDA_PREFIX

.DEFAULT_GOAL := help
.PHONY: help dev fmt lint deny test test-rust test-python test-cluster bench check wheel check-wheel demo clean
.PHONY: build-cuda wheel-cuda check-wheel-cuda
.DELETE_ON_ERROR:

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

dev: $(VENV)/.package ## make .venv with the package (editable) and all tools

$(VENV)/.tools: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed, PYTHON=$(PYTHON) is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --progress-bar off --group dev
	@touch $@

$(VENV)/.package: $(VENV)/.tools $(RUST_SOURCES)
	$(BIN)/maturin develop --release --quiet
	@touch $@

fmt: dev ## format Python and Rust, and mend what ruff can
	$(BIN)/ruff check --fix --quiet
	$(BIN)/ruff format
	cargo fmt --all

lint: dev deny ## ruff, mypy --strict, stubs against the binary, clippy, rustfmt, deny list
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml flexpose._rust
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

deny:
	$(PYTHON) tools/deny.py

test: test-rust test-python ## cargo test and pytest

# The binding crate holds no algorithm and links no interpreter: pytest is its test.
test-rust:
	cargo test --locked --package flexpose-core

test-python: dev
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-cluster: dev ## the tests that need Ray and torchdata, which dev leaves out
	$(BIN)/python -m pip install --quiet --group cluster
	$(BIN)/python -m pytest tests/shards/test_ray.py tests/shards/test_dataset.py tests/cli/test_render.py $(PYTEST_ARGS)

bench: dev ## run every benchmark; results go to benchmarks/results
	@set -e; for subject in coco metrics png raster render; do echo "== $$subject"; $(BIN)/python "benchmarks/$$subject.py"; done

wheel: dev ## build the abi3 wheel into dist/
	rm -rf dist
	$(BIN)/maturin build --release --locked --out dist

check-wheel: wheel
	$(BIN)/python tools/check_wheel.py dist

# The extra is written once, in pyproject.toml.
CUDA_BUILD := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["cuda-build"], sep="\n")

$(VENV)/.cuda: $(VENV)/.tools pyproject.toml
	$(BIN)/python -c '$(CUDA_BUILD)' | $(BIN)/python -m pip install --quiet --progress-bar off -r /dev/stdin
	@touch $@

build-cuda: dev $(VENV)/.cuda ## build the kernels for all cards, without one, into build/cuda
	$(BIN)/flexpose build-cuda --arch all --strict --out build/cuda

wheel-cuda: wheel build-cuda ## build the wheel with the kernels, for this Python, into dist/cuda
	$(BIN)/python tools/cuda_wheel.py dist build/cuda dist/cuda

check-wheel-cuda: wheel-cuda
	$(BIN)/python tools/check_wheel.py dist/cuda

check: lint test check-wheel ## lint, test, and the wheel in an environment of its own

demo: dev ## the whole job on poses the package makes itself, into demo/
	$(BIN)/flexpose demo $(DEMO)

clean:
	rm -rf build dist target demo .mypy_cache .pytest_cache .ruff_cache
