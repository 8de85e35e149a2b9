# make bench    the PTQ gates of every workload       make test    unit tests of the package
# make lint     ruff and mypy                          make results  every figure of docs/results.md, again
# make docs     the site of the pages
# make test-matrix   the tests of what calls torch, on the lowest and the highest torch that is supported
# PIP_ARGS is handed to the installer, PYTEST_ARGS to pytest.
PYTHON ?= python3
PIP_ARGS ?=
PYTEST_ARGS ?=
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Of torch; the highest is the one in constraints.txt.
TORCHES ?= 2.11 2.14
CORE ?= tests/backends tests/inspect tests/models tests/quant tests/search tests/training tests/test_without_torch_ao.py

.PHONY: bench test test-matrix lint results docs clean
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
	$(BIN)/quantbench report docs/results/records.json --out docs/results --into docs/results.md --into docs/keyword-spotting.md
	$(BIN)/python benchmarks/published_figures.py docs/results/records.json docs/keyword-spotting.md docs/residual-networks.md

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# Installs into $(1) with the constraints $(2) and what $(3) names beside.
define install
	@echo "Installing into $(1): torch and its libraries take several GB on Linux, once."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $(PYTHON) is older than Python 3.11; name another: make PYTHON=python3.11"; exit 2; }
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" $(1) && \
	  uv pip install --quiet --python $(1)/bin/python -c $(2) $(PIP_ARGS) $(3) -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv $(1) && \
	  $(1)/bin/python -m pip install --quiet --disable-pip-version-check -c $(2) $(PIP_ARGS) $(3) -e '.[dev]'; \
	fi
	@touch $@
endef

# Rebuilt when the pinned set changes; the stamp is written last, so a killed installation starts again.
$(STAMP): pyproject.toml constraints.txt
	$(call install,$(VENV),constraints.txt,)

test-matrix: $(TORCHES:%=test-torch-%)

test-torch-%: $(VENV)-torch-%/.installed
	$(VENV)-torch-$*/bin/python -m pytest $(CORE) -n auto --dist worksteal $(PYTEST_ARGS)

# The same set but for torch, the libraries that are built against it, and setuptools, of which each needs another.
$(VENV)-torch-%/.installed: pyproject.toml constraints.txt
	@mkdir -p $(@D)
	@grep -Ev '^(torch|setuptools)' constraints.txt > $(@D).txt
	$(call install,$(@D),$(@D).txt,'torch==$*.*')
	@rm $(@D).txt

.PRECIOUS: $(VENV)-torch-%/.installed

clean:
	rm -rf $(VENV) $(TORCHES:%=$(VENV)-torch-%)
