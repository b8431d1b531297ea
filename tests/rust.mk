# The Rust suites. Included by the Makefile at the root.

TSAN_FLAGS := -Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer

.PHONY: test-rust test-race

test-rust: ## the Rust suites, clippy with warnings as errors, and the formatting
	$(CARGO) test --quiet
	$(CARGO) clippy --quiet --all-targets -- -D warnings
	$(CARGO) fmt --check

# Optimised a little, or a million cycles under the sanitizer take minutes.
test-race: ## a million hand-overs from eight threads, under ThreadSanitizer
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="$(TSAN_FLAGS)" CARGO_TARGET_DIR=target/tsan CARGO_PROFILE_TEST_OPT_LEVEL=1 \
	    CARGO_PROFILE_DEV_OPT_LEVEL=1 \
	    $(CARGO) test --quiet --target x86_64-unknown-linux-gnu --test race
