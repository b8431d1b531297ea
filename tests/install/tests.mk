# What is installed, and what is built on it. Included by the Makefile at the root.

.PHONY: test-install test-cargo-c

test-install: lib wheel ## C, C++, Rust and Python programs, built from an installed tree and from the wheel alone
	@CC="$(CC)" CXX="$(CXX)" tests/install/install.sh $(ROOT)/build/install
	@CC="$(CC)" CXX="$(CXX)" tests/install/wheel.sh $(ROOT)/build/install-wheel $(PYTHON) build/wheel/*.whl
	@CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$(ROOT)/target/consumer $(CARGO) run --quiet --manifest-path tests/install/rust/Cargo.toml
	@echo "install: a program in Rust, by the path of the repository"

test-cargo-c: lib ## cargo-c installs what make installs; not a part of `make test`
	@CARGO="$(CARGO)" CC="$(CC)" tests/install/cargo_c.sh $(ROOT)/build/cargo-c
