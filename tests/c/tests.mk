# The C tests: one program per noun, against every build of the library. Programs go to build/c/BUILD/.

.PHONY: test-c test-c-release test-c-debug test-c-static test-c-headers test-c-library \
    test-c-valgrind test-c-asan test-c-driver

C_TESTS   := status dtype device tensor threads export dlpack view reshape absurd memory allocator pin stream transfer copy cast \
             compare stack staging python
C_EXAMPLES := camera own_memory capture overlap
C_BUILD   := $(ROOT)/build/c
C_HEADERS := $(wildcard tests/c/*.h) $(wildcard include/*.h include/dlbridge/*.h)
C_FLAGS   := -std=c11 -D_DEFAULT_SOURCE -O1 -g $(C_WARNINGS) $(INCLUDE) -pthread

VALGRIND := valgrind --quiet --leak-check=full --show-leak-kinds=definite,indirect,possible \
    --errors-for-leak-kinds=definite,indirect,possible --error-exitcode=9 \
    --suppressions=$(ROOT)/tests/c/valgrind.supp
ASAN_ENV := ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
ASAN     := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

# c_rules BUILD,LIBRARY DIRECTORY,TARGET THAT BUILDS IT,FLAGS: how the programs of one build are made
define c_rules
$(C_BUILD)/$(1)/%: tests/c/%.c $(C_HEADERS) | $(3)
	@mkdir -p $$(@D)
	@$(CC) $(C_FLAGS) $(4) $$< -o $$@ -L$(2) -ldlbridge -Wl,-rpath,$(2)
$(foreach name,$(C_EXAMPLES),$(call c_example,$(1),$(2),$(3),$(4),$(name)))
endef

# c_example ...,NAME: the same for an example
define c_example
$(C_BUILD)/$(1)/$(5): examples/$(5)/$(5).c $(C_HEADERS) | $(3)
	@mkdir -p $$(@D)
	@$(CC) $(C_FLAGS) $(4) $$< -o $$@ -L$(2) -ldlbridge -Wl,-rpath,$(2)

endef

$(eval $(call c_rules,release,$(LIB_RELEASE),lib,))
$(eval $(call c_rules,debug,$(LIB_DEBUG),lib-debug,))
$(eval $(call c_rules,asan,$(LIB_ASAN),lib-asan,$(ASAN)))

c_programs = $(patsubst %,$(C_BUILD)/$(1)/%,$(C_TESTS) $(C_EXAMPLES))

# c_run PROGRAMS,PREFIX: runs all of them, even after a failure, and shows what failed
c_run = @failed=; for program in $(1); do \
	    name=$$(basename $$(dirname $$program))/$$(basename $$program); \
	    log=$$program.$@.log; \
	    if $(2) $$program >$$log 2>&1; then echo "c $$name: $$(tail -n 1 $$log)"; \
	    else echo "c $$name FAILED:"; grep -v '^ok ' $$log; failed="$$failed $$name"; fi; \
	done; test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

test-c: test-c-release test-c-debug test-c-static test-c-headers test-c-library ## the C tests, the C examples, the headers, the library file

test-c-release: lib $(call c_programs,release)
	$(call c_run,$(call c_programs,release),)

test-c-debug: lib-debug $(call c_programs,debug)
	$(call c_run,$(call c_programs,debug),)

# One program with the library inside; Rust's runtime needs the same C libraries as the shared one.
test-c-static: lib
	@mkdir -p $(C_BUILD)/static
	@$(CC) $(C_FLAGS) tests/c/tensor.c -o $(C_BUILD)/static/tensor $(LIB_RELEASE)/libdlbridge.a -ldl -lm
	$(call c_run,$(C_BUILD)/static/tensor,)

test-c-headers:
	@CC="$(CC)" CXX="$(CXX)" tests/c/headers.sh include

test-c-library: lib lib-debug
	@CC="$(CC)" tests/library.sh $(ROOT) $(C_BUILD) $(LIB_RELEASE) $(LIB_DEBUG)

test-c-valgrind: lib-debug $(call c_programs,debug) $(C_BUILD)/debug/misuse ## the C tests under valgrind
	@$(call need,valgrind,valgrind (Debian: apt install valgrind))
	@tests/c/misuse.sh $(C_BUILD)/debug/misuse $(VALGRIND)
	$(call c_run,$(call c_programs,debug),CHECK_QUICK=1 $(VALGRIND))

# Those of devices again, with the stand-in for a CUDA driver.
C_DRIVEN := pin transfer
test-c-driver: standin $(addprefix $(C_BUILD)/debug/,$(C_DRIVEN)) $(addprefix $(C_BUILD)/asan/,$(C_DRIVEN)) ## C tests of devices on the stand-in for a CUDA driver, plain, under valgrind and AddressSanitizer
	$(call c_run,$(addprefix $(C_BUILD)/debug/,$(C_DRIVEN)),LD_LIBRARY_PATH=$(ROOT)/$(STANDIN))
	$(call c_run,$(addprefix $(C_BUILD)/debug/,$(C_DRIVEN)),LD_LIBRARY_PATH=$(ROOT)/$(STANDIN) $(VALGRIND))
	$(call c_run,$(addprefix $(C_BUILD)/asan/,$(C_DRIVEN)),LD_LIBRARY_PATH=$(ROOT)/$(STANDIN) $(ASAN_ENV))

test-c-asan: lib-asan $(call c_programs,asan) $(C_BUILD)/asan/misuse ## the C tests, C and Rust under AddressSanitizer
	@$(ASAN_ENV) tests/c/misuse.sh $(C_BUILD)/asan/misuse
	$(call c_run,$(call c_programs,asan),$(ASAN_ENV))
