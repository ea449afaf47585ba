# make demo     the whole story on three small hosts that live in this machine; needs no root
# make test     the linters, then every test that this machine can run
# make faults   the fault bench and all other long tests, hours on real hosts; make test runs a part.
#               Its tables go to fault-tables.md, or to another file: make faults TABLES=FILE
# make lint     the linters alone
# make bench    the benchmarks
# make analysis-bench  false alarms and misses of the live analysis, simulated; some minutes
# make clean    remove what the other targets made

PYTHON ?= python3
TABLES ?= fault-tables.md
BIN := .venv/bin
READY := .venv/ready
DEMO_READY := .venv/demo-ready
# Invoke keeps Python from writing bytecode: without this every fab would compile our modules anew.
COMPILE := $(BIN)/python -m compileall -q aideploy
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable

.PHONY: demo test faults lint bench analysis-bench clean

demo: $(DEMO_READY)
	$(BIN)/python -m aideploy.sandbox.demo

test: lint
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

faults: $(READY)
	AIDEPLOY_FAULT_TABLES=$(TABLES) $(BIN)/python -m pytest -m "slow or bench"

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	git ls-files -z '*.sh' .ci/run | xargs -0 $(BIN)/shellcheck

bench: $(READY)
	$(BIN)/python -m benchmarks

analysis-bench: $(READY)
	$(BIN)/python -m benchmarks.analysis

clean:
	rm -rf .venv dist .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# Each made once, and again whenever pyproject.toml changes; the demo needs less than the tests.
$(READY): pyproject.toml | $(BIN)/python
	$(INSTALL) '.[dev]'
	$(COMPILE)
	@touch $@ $(DEMO_READY)

$(DEMO_READY): pyproject.toml | $(BIN)/python
	$(INSTALL) '.[sandbox]'
	$(COMPILE)
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "aideploy needs Python 3.11 or newer as $(PYTHON); choose one with: make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	    { echo "$(PYTHON) has no venv module; on Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
