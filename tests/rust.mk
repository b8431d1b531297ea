# The Rust suites. Included by the Makefile at the root.

TSAN_FLAGS := -Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg race_checker

OLDEST_RUST = $(shell sed -n 's/^rust-version = "\(.*\)"$$/\1/p' Cargo.toml)

# tch builds against the torch of .venv, in a folder of its own: it wants other features of what dlbridge stands on.
TCH        := PATH=$(VENV)/bin:$$PATH LIBTORCH_USE_PYTORCH=1 CARGO_TARGET_DIR=target/tch $(CARGO)
TCH_CRATES := -p dlbridge-tch -p rust_service
VALGRIND_TORCH := valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite \
    --errors-for-leak-kinds=definite --suppressions=$(ROOT)/tests/torch.supp

.PHONY: test-rust test-rust-suites lint-rust test-rust-asan test-device test-device-asan stress-device test-race test-tch \
    test-oldest-rust doc

test-rust: test-rust-suites lint-rust doc ## the Rust suites with every feature, clippy with warnings as errors, and the formatting

test-rust-suites:
	$(CARGO) test --quiet --all-features

lint-rust:
	$(CARGO) clippy --quiet --all-targets --all-features -- -D warnings
	$(CARGO) clippy --quiet --all-targets -- -D warnings
	$(CARGO) fmt --all --check

# Without the model of the ring: what checks it, loom, keeps some memory of its own; and without its longest run.
test-rust-asan: ## owners, borrows, ndarray arrays and streams, under AddressSanitizer
	$(CARGO_ASAN) test --quiet --features half,ndarray --target x86_64-unknown-linux-gnu --lib --test owner --test lending --test ndarray \
    --test streams -- --skip staging::model --skip a_hundred_thousand

test-device: standin ## the CUDA half of the device layer, against a stand-in for the driver, in build/driver
	STANDIN_FOLDER=$(ROOT)/$(STANDIN) $(CARGO) test --quiet --all-features --test device

test-device-asan: standin ## the same under AddressSanitizer
	STANDIN_FOLDER=$(ROOT)/$(STANDIN) $(CARGO_ASAN) test --quiet --features half,ndarray --target x86_64-unknown-linux-gnu --test device

stress-device: standin ## the stress of the device layer for a minute each, on the stand-in and on the CPU; 100,000 batches
	STANDIN_FOLDER=$(ROOT)/$(STANDIN) DLB_STRESS_SECONDS=60 DLB_STRESS_BATCHES=100000 $(CARGO) test --quiet --all-features --test device \
    -- eight_threads streams_of_the_cpu batches_are_whole

# Optimised a little, or a million cycles under the sanitizer take minutes.
test-race: ## a million hand-overs, and copies on streams, from eight threads, under ThreadSanitizer
	TSAN_OPTIONS=suppressions=$(ROOT)/tests/race.supp \
	    RUSTC_BOOTSTRAP=1 RUSTFLAGS="$(TSAN_FLAGS)" CARGO_TARGET_DIR=target/tsan CARGO_PROFILE_TEST_OPT_LEVEL=1 \
	    CARGO_PROFILE_DEV_OPT_LEVEL=1 \
	    $(CARGO) test --quiet --target x86_64-unknown-linux-gnu --test race --test race_streams

test-tch: $(VENV)/.ready ## dlbridge-tch with the torch of .venv, plain and under valgrind, and the Rust service
	@$(call need,valgrind,valgrind)
	$(TCH) test --quiet $(TCH_CRATES)
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$(VALGRIND_TORCH)" \
	    $(TCH) test --quiet $(TCH_CRATES) --test round_trip -- --test-threads=1
	$(TCH) run --quiet -p rust_service
	$(TCH) clippy --quiet $(TCH_CRATES) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(TCH) doc --quiet --no-deps $(TCH_CRATES)

# In a folder of its own, so that the other builds stay warm. rustup fetches the toolchain where it is missing.
test-oldest-rust: ## the crate and its tests compile with the oldest Rust that Cargo.toml names
	@$(call need,rustup,rustup)
	CARGO_TARGET_DIR=target/oldest rustup run --install $(OLDEST_RUST) cargo check --quiet --all-features --all-targets

doc: ## the Rust documentation, with every feature, in target/doc
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --all-features --no-deps
