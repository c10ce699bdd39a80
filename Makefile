# Everything runs in .venv and starts its own throw-away servers.

VENV := .venv
READY := $(VENV)/.ready

.PHONY: help demo test lint bench bench-api bench-check servers clean

help:
	@echo "make demo         two real servers, a message each way, who decided what"
	@echo "make demo ONCE=1  the same, ends by itself, non-zero if anything failed"
	@echo "make demo STOCK=1 ejabberd stays on its own dialback"
	@echo "make test         all tests, on real servers (TESTS=tests/keys for some)"
	@echo "make lint         ruff, mypy, luacheck"
	@echo "make bench-check  checks a second beside stock inbound handshakes"
	@echo "make bench-api    the admin API beside 200 handshakes a second"
	@echo "make bench        native and bolted-on side by side (ARGS=--quick for a glance)"

demo: $(READY) servers
	@$(VENV)/bin/dialback-sidecar demo $(if $(ONCE),--once) $(if $(STOCK),--stock)

test: $(READY) servers
	@$(VENV)/bin/python -m pytest $(TESTS)

lint: $(READY)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@if command -v luacheck >/dev/null; then cd contrib/prosody && luacheck --quiet .; \
		else echo "luacheck is not installed (Debian: lua-check)"; fi

bench: $(READY) servers
	@$(VENV)/bin/python -m bench.handshake $(ARGS)

bench-api: $(READY)
	@$(VENV)/bin/python -m bench.api $(ARGS)

bench-check: $(READY) servers
	@$(VENV)/bin/python -m bench.check $(ARGS)

servers:
	@.ci/servers

$(READY): pyproject.toml
	@python=$$(.ci/python) && "$$python" -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV)
