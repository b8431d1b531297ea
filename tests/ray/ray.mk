# Ray Data feeding a Stager, on a real cluster of this machine. Included by the Makefile at the root.

RAY_VENV := $(ROOT)/.venv-ray

.PHONY: test-ray

# torch, pytest and dlbridge are those of .venv; what is installed here comes before them.
$(RAY_VENV)/.ready: tests/ray/requirements.txt $(VENV)/.ready
	@echo "fetching Ray: about 200 MB to download, 700 MB on disk"
	@$(PY) -m venv $(RAY_VENV)
	@site() { "$$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }; \
	    echo "import site; site.addsitedir('$$(site $(PY))')" > "$$(site $(RAY_VENV)/bin/python)/main.pth"
	@$(RAY_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $< >$(RAY_VENV)/log 2>&1 || \
	    { grep -q 'No matching distribution' $(RAY_VENV)/log || { cat $(RAY_VENV)/log; exit 1; }; }
	@touch $@

test-ray: package $(RAY_VENV)/.ready ## Ray Data, tasks and actors feeding a Stager, on a local Ray cluster
	@if $(RAY_VENV)/bin/python -c 'import ray' 2>/dev/null; then \
	    $(PYTEST:$(VENV)%=$(RAY_VENV)%) tests/ray && \
	    echo "--- examples/ray_data" && $(RAY_VENV)/bin/python examples/ray_data/ray_data.py; \
	else echo "UNAVAILABLE: test-ray: Ray has no wheel for $$($(PY) -V)"; fi
