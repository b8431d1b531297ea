# The stand-in for the CUDA driver, which is never shipped, and one that lacks a function. The device tests make it by this
# file alone.
STANDIN       ?= build/driver
STANDIN_FLAGS := -std=gnu11 -O1 -g -Wall -Wextra -Wpedantic -Werror -fPIC -shared -fvisibility=hidden -pthread \
    -Wl,-soname,libcuda.so.1
STANDIN_FROM  := $(wildcard tests/driver/*.c)
STANDIN_HEADS := $(wildcard tests/driver/*.h)

.PHONY: standin

standin: $(STANDIN)/libcuda.so.1 $(STANDIN)/incomplete/libcuda.so.1

$(STANDIN)/libcuda.so.1: $(STANDIN_FROM) $(STANDIN_HEADS)
	@mkdir -p $(@D)
	@$(CC) $(STANDIN_FLAGS) -o $@ $(STANDIN_FROM)

$(STANDIN)/incomplete/libcuda.so.1: $(STANDIN_FROM) $(STANDIN_HEADS)
	@mkdir -p $(@D)
	@$(CC) $(STANDIN_FLAGS) -DcuMemcpyPeerAsync=missing -o $@ $(STANDIN_FROM)
