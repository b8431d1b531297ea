# The two commands a newcomer needs: `make demo` and `make test`. Everything they want is made on the way.
# `make help` lists the rest.

CARGO ?= cargo
CC    ?= cc
CXX   ?= c++

ROOT  := $(CURDIR)
VENV  := $(ROOT)/.venv
# The interpreter that the Python side runs on: ours, or the user's with `make test PYTHON=...`.
PYTHON ?= $(VENV)/bin/python

# Where each build of the library lies: optimised, with debug assertions, and with Rust under AddressSanitizer.
LIB_RELEASE := $(ROOT)/target/release
LIB_DEBUG   := $(ROOT)/target/debug
LIB_ASAN    := $(ROOT)/target/asan/x86_64-unknown-linux-gnu/debug

C_WARNINGS   := -Wall -Wextra -Wpedantic -Werror
INCLUDE      := -I$(ROOT)/include

.PHONY: lib lib-debug lib-asan

lib: ## the shared and static library, optimised, in target/release
	@$(CARGO) build --quiet --release
	@$(call soname_link,$(LIB_RELEASE))

lib-debug: ## the same with debug assertions, in target/debug
	@$(CARGO) build --quiet
	@$(call soname_link,$(LIB_DEBUG))

lib-asan: ## the same with the Rust side under AddressSanitizer, in target/asan
	@RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=target/asan \
	    $(CARGO) build --quiet --lib --target x86_64-unknown-linux-gnu
	@$(call soname_link,$(LIB_ASAN))

# A program linked to the library looks for its soname: lay that link beside it. build.rs decides the name.
soname_link = ln -sf libdlbridge.so $(1)/$$(readelf -d $(1)/libdlbridge.so | sed -n 's/.*soname: \[\(.*\)\]/\1/p')

include tests/c/tests.mk
include tests/cpp/tests.mk
