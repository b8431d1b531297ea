# What needs a GPU: checked here where there is one, else packed, to be carried to a machine that has one.

.PHONY: gpu-bundle gpu-check bench-device

GPU_BUNDLE   := $(ROOT)/build/gpu
GPU_PROGRAMS := $(addprefix $(C_BUILD)/release/,pin transfer)

gpu-bundle: wheel $(VENV)/.ready $(GPU_PROGRAMS) ## what a GPU machine needs, in build/gpu and build/gpu.tar.gz
	@tests/gpu/pack.sh build/wheel/*.whl $(LIB_RELEASE)/libdlbridge.so $(PY) $(GPU_BUNDLE) $(GPU_PROGRAMS)
	@echo "packed: $(GPU_BUNDLE).tar.gz; on the GPU machine: tar xzf gpu.tar.gz && gpu/check.sh"

# With GPU_HOST=user@host it is carried there by ssh, and what was measured comes back.
gpu-check: gpu-bundle ## the device tests and the benchmark on a real GPU: here, or on GPU_HOST
ifdef GPU_HOST
	@ssh $(GPU_HOST) 'rm -rf gpu && tar xz' <$(GPU_BUNDLE).tar.gz
	@mkdir -p benches
	@ssh $(GPU_HOST) 'gpu/check.sh'; status=$$?; ssh $(GPU_HOST) 'cd gpu && test ! -d results || tar c results' | \
	    tar x -C benches 2>/dev/null; exit $$status
else
	@PYTHON=$(PY) $(GPU_BUNDLE)/check.sh && mkdir -p benches/results && cp $(GPU_BUNDLE)/results/*.json benches/results/
endif

bench-device: package ## transfers and staging beside torch and a bare loop over the driver, on a GPU
	@$(PY) benches/device.py --out benches/results
	@$(PY) benches/staging_device.py --out benches/results
