# The ABI: described in tests/abi/frozen.c, held by a test. Included by the Makefile at the root.

.PHONY: abi test-abi

abi: lib $(VENV)/.ready ## tests/abi/frozen.c from the headers, after a change of the ABI that was meant
	@CC="$(CC)" $(PY) tests/abi/freeze.py

test-abi: lib $(VENV)/.ready ## the headers and the library still are what tests/abi/frozen.c says
	@CC="$(CC)" $(PYTEST) tests/abi
