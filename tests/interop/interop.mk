# The interoperability matrix and the newest torch. Included by the Makefile at the root.

INTEROP_VENV := $(ROOT)/.venv-interop
NEWEST_VENV  := $(ROOT)/.venv-newest

.PHONY: interop interop-docs test-interop test-newest-torch

interop: package ## the part of the interoperability matrix that .venv has the packages for
	$(PYTEST) tests/interop

# torch, Matplotlib, pytest and dlbridge are those of .venv; what is installed here comes before them.
$(INTEROP_VENV)/.ready: tests/interop/requirements.txt $(VENV)/.ready
	@$(call need,$(PYTHON),python3 with python3-venv)
	@echo "fetching the packages of the interoperability matrix: about 800 MB to download, 3.6 GB on disk"
	@$(PY) -m venv $(INTEROP_VENV)
	@rm -f $(INTEROP_VENV)/lib/python3.*/site-packages/main.pth
	@$(INTEROP_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@site() { "$$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }; \
	    echo "import site; site.addsitedir('$$(site $(PY))')" > "$$(site $(INTEROP_VENV)/bin/python)/main.pth"
	@touch $@

interop-docs: package $(INTEROP_VENV)/.ready ## docs/interop.md, from a run of the whole matrix
	@$(INTEROP_VENV)/bin/python tests/interop/table.py docs/interop.md

test-interop: package $(INTEROP_VENV)/.ready ## every framework in and out, compared with docs/interop.md
	DLBRIDGE_INTEROP=all $(INTEROP_VENV)/bin/python -m pytest -q tests/interop

# The libraries that torch wants come along: about 5 GB on disk. `rm -rf .venv-newest` gives them back.
test-newest-torch: lib ## the Python tests with the newest torch there is, in .venv-newest
	@$(call need,$(PYTHON),python3 with python3-venv)
	@$(PYTHON) -m venv $(NEWEST_VENV)
	@sed 's/^torch==.*/torch/' tests/requirements.txt > $(NEWEST_VENV)/requirements.txt
	@$(NEWEST_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade \
	    -r $(NEWEST_VENV)/requirements.txt
	@DLBRIDGE_LIBRARY=$(LIB_RELEASE)/libdlbridge.so $(NEWEST_VENV)/bin/python -m pip install --quiet \
	    --disable-pip-version-check --no-deps --no-build-isolation ./bindings/python
	@$(NEWEST_VENV)/bin/python -c 'import torch; print("torch", torch.__version__)'
	$(NEWEST_VENV)/bin/python -m pytest -q tests/python
