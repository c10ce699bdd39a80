# Everything runs in .venv and starts its own throw-away servers.

VENV := .venv
READY := $(VENV)/.ready

.PHONY: help demo test lint bench servers clean

help:
	@echo "make demo         two real servers, a message each way, who decided what"
	@echo "make demo ONCE=1  the same, ends by itself, non-zero if anything failed"
	@echo "make demo STOCK=1 ejabberd stays on its own dialback"
	@echo "make test         all tests, on real servers (TESTS=tests/keys for some)"
	@echo "make lint         ruff, mypy, luacheck"
	@echo "make bench        handshakes, native and bolted-on side by side (ARGS=--quick)"
	@echo "make bench-keyd   the key service beside a Prosody that answers db:verify"
	@echo "make bench-check  checks a second beside stock inbound handshakes"
	@echo "make bench-api    the admin API beside 200 handshakes a second"

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

bench-%: $(READY) servers
	@$(VENV)/bin/python -m bench.$* $(ARGS)

servers:
	@.ci/servers

$(READY): pyproject.toml
	@python=$$(.ci/python) && "$$python" -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV)
