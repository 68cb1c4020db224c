# Every target sets up what it needs: a .venv from the hash-pinned lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Each a program, and after a colon the package where that has another name.
SYSTEM_TOOLS := curl chromium nginx caddy prometheus strace go:golang-go systemd-analyze:systemd

.PHONY: help demo serve test test-system check soak bench lock clean

help:
	@echo "make demo         show the gateway at work: an embedded speech engine, one caller, one clip, its usage"
	@echo "make serve        the same, left running with a key to try"
	@echo "make test         the test suite (Python and a package index are all it needs)"
	@echo "make test-system  the tests that need curl, Chromium, nginx, Caddy, Prometheus, strace, Go, systemd, or root; installs with apt-get"
	@echo "make check        lint, types, import contracts, known vulnerabilities, then make test"
	@echo "make soak         long runs: a mixed load with faults (SOAK_SECONDS=600), kill -9 a thousand times, a million odd forms"
	@echo "make bench        the gateway beside its peers, about 45 minutes; see bench/README.md"
	@echo "make lock         renew the hash-pinned requirement files (needs uv)"

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
