# Every target creates .venv from the hash-pinned lock file if necessary.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Programs. The package follows after a colon if it has another name.
SYSTEM_TOOLS := curl chromium nginx caddy prometheus strace go:golang-go systemd-analyze:systemd

.PHONY: help demo serve test test-system check soak bench lock clean

help:
	@echo "make demo         transcribe a clip through the gateway with an embedded speech engine, and print the usage"
	@echo "make serve        run the demo gateway and print a key to try it"
	@echo "make test         run the test suite (needs only Python and a package index)"
	@echo "make test-system  run the tests that need curl, Chromium, nginx, Caddy, Prometheus, strace, Go, systemd or root; installs them with apt-get"
	@echo "make check        check lint, types, import contracts and known vulnerabilities, then run make test"
	@echo "make soak         run long tests: mixed load with faults (SOAK_SECONDS=600), a thousand kill -9, a million mutated forms"
	@echo "make bench        compare the gateway with similar programs, about 45 minutes; see bench/README.md"
	@echo "make lock         update the hash-pinned requirement files (needs uv)"

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "audio-gateway needs Python 3.11 to 3.13; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python scripts/install.py $(BIN)/python requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)
	@$(BIN)/audio-gateway demo

serve: $(READY)
	@$(BIN)/audio-gateway demo --serve

test: $(READY)
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not system and not soak"

test-system: $(READY)
	@missing=; \
	for tool in $(SYSTEM_TOOLS); do command -v $${tool%%:*} > /dev/null || missing="$$missing $${tool##*:}"; done; \
	if [ -n "$$missing" ]; then \
	  apt-get update --quiet && apt-get install --yes --quiet --no-install-recommends ca-certificates $$missing; \
	fi
	$(BIN)/python -m pytest -m system

soak: $(READY)
	$(BIN)/python -m pytest -m soak

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/audit.py requirements-dev.lock
	$(MAKE) test

bench: $(READY)
	$(BIN)/python -m bench --write

clean:
	rm -rf $(VENV)

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet pyproject.toml --output-file requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet --extra otel pyproject.toml --output-file requirements-otel.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet --extra dev pyproject.toml --output-file requirements-dev.lock
