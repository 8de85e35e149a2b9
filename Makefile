# make bench    the PTQ gates of every workload       make test    unit tests of the package
# make lint     ruff and mypy                          make results  every figure of the README, again
# PIP_ARGS is handed to the installer, PYTEST_ARGS to pytest.
PYTHON ?= python3
PIP_ARGS ?=
PYTEST_ARGS ?=
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: bench test lint results clean
.DELETE_ON_ERROR:

bench: $(STAMP)
	$(BIN)/pytest bench -k ptq $(PYTEST_ARGS)

test: $(STAMP)
	$(BIN)/pytest tests -n auto --dist worksteal --package-coverage=quantbench --durations=10 $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

results: $(STAMP)
	$(BIN)/pytest bench --real-data --json docs/results/records.json $(PYTEST_ARGS)
	$(BIN)/quantbench report docs/results/records.json --out docs/results --into README.md --into docs/keyword-spotting.md
	$(BIN)/python benchmarks/published_figures.py docs/results/records.json docs/keyword-spotting.md docs/residual-networks.md

# Rebuilt when the pinned set changes; the stamp is written last, so a killed installation starts again.
$(STAMP): pyproject.toml constraints.txt
	@echo "Installing into $(VENV): torch and its libraries take several GB on Linux, once."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $(PYTHON) is older than Python 3.11; name another: make PYTHON=python3.11"; exit 2; }
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" $(VENV) && \
	  uv pip install --quiet --python $(BIN)/python -c constraints.txt $(PIP_ARGS) -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_ARGS) -e '.[dev]'; \
	fi
	@touch $@

clean:
	rm -rf $(VENV)
