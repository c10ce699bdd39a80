# Everything runs in .venv and starts its own throw-away servers.

VENV := .venv
# tests at a time: much of it is waiting for servers to start
JOBS := 3
READY := $(VENV)/.ready
TESTED := $(VENV)/.tested

.PHONY: help demo test lint bench soak servers clean

help:
	@echo "make demo         two real servers, a message each way, who decided what"
	@echo "make demo ONCE=1  the same, ends by itself, non-zero if anything failed"
	@echo "make demo STOCK=1 ejabberd stays on its own dialback"
	@echo "make test         all tests, on real servers (TESTS=tests/keys for some, JOBS=0 one by one)"
	@echo "make lint         ruff, mypy, luacheck"
	@echo "make bench        all benchmarks, one table of ratios (ARGS='--quick', or names)"
	@echo "make soak         200,000 handshakes, floods, an hour of fuzzing (ARGS=--quick, or names)"

demo: $(READY) servers
	@$(VENV)/bin/dialback-sidecar demo $(if $(ONCE),--once) $(if $(STOCK),--stock)

test: $(TESTED) servers
	@$(VENV)/bin/python -m pytest --numprocesses $(JOBS) --dist loadfile $(TESTS)

lint: $(TESTED)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@if command -v luacheck >/dev/null; then cd contrib/prosody && luacheck --quiet .; \
		else echo "luacheck is not installed (Debian: lua-check)"; fi

bench: $(TESTED) servers
	@$(VENV)/bin/python -m bench $(ARGS)

soak: $(TESTED)
	@$(VENV)/bin/python -c "import atheris" 2>/dev/null || \
		$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@$(VENV)/bin/python -m bench.soak $(ARGS)

servers:
	@.ci/servers

$(READY): pyproject.toml
	@python=$$(.ci/python) && "$$python" -m venv --clear $(VENV)
	@echo "installing into $(VENV) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[lab]'
	@touch $@

$(TESTED): $(READY)
	@echo "installing what tests need into $(VENV) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV)
