# The examples: one folder for each situation a user is in. All are built and run; what is made lies in build/examples.

EXAMPLES_OUT := build/examples

.PHONY: test-examples test-examples-c test-examples-cpp test-examples-rust test-examples-python

test-examples: test-examples-c test-examples-cpp test-examples-rust test-examples-python ## every example, built and run

# $(call example,NAME): its program, run with its output shown under its name; skipped where it was said to be unavailable.
example = @! test -e $(EXAMPLES_OUT)/$(1) || { echo "--- examples/$(1)" && $(EXAMPLES_OUT)/$(1); }

test-examples-c: $(EXAMPLES_OUT)/camera $(EXAMPLES_OUT)/own_memory $(EXAMPLES_OUT)/capture $(EXAMPLES_OUT)/overlap
	$(call example,camera)
	$(call example,own_memory)
	$(call example,capture)
	$(call example,overlap)

test-examples-cpp: $(EXAMPLES_OUT)/decoder $(EXAMPLES_OUT)/opencv $(EXAMPLES_OUT)/eigen $(EXAMPLES_OUT)/overlap_cpp
	$(call example,decoder)
	$(call example,opencv)
	$(call example,eigen)
	$(call example,overlap_cpp)

test-examples-rust:
	@echo "--- examples/overlap" && $(CARGO) run --quiet --all-features --example overlap

test-examples-python: package standin
	@echo "--- examples/python_package" && $(PY) examples/python_package/python_package.py
	@echo "--- examples/batch" && $(PY) examples/batch/batch.py build/batch
	@echo "--- examples/layouts" && $(PY) examples/layouts/layouts.py
	@echo "--- examples/narrow" && $(PY) examples/narrow/narrow.py
	@echo "--- examples/ctypes_only" && $(PY) examples/ctypes_only/ctypes_only.py $(LIB_RELEASE)/libdlbridge.so
	@echo "--- examples/cffi_only" && $(PY) examples/cffi_only/cffi_only.py $(LIB_RELEASE)/libdlbridge.so
	@echo "--- examples/upload" && $(PY) examples/upload/upload.py cpu && LD_LIBRARY_PATH=$(ROOT)/$(STANDIN) $(PY) examples/upload/upload.py cuda:0
	@echo "--- examples/demo" && $(PY) examples/demo/demo.py build/demo
	@echo "--- examples/dataloader" && $(PY) examples/dataloader/dataloader.py
	@echo "--- examples/shared_memory" && $(PY) examples/shared_memory/shared_memory.py
	@echo "--- examples/classifier" && $(PY) examples/classifier/classifier.py $(EXAMPLES_OUT)/classifier

$(EXAMPLES_OUT):
	@mkdir -p $@

EXAMPLES_LINK := -L$(LIB_RELEASE) -Wl,-rpath,$(LIB_RELEASE) -ldlbridge
EXAMPLES_CXX   = $(CXX) $(CPP_FLAGS) -std=c++17
EXAMPLES_HEADERS := $(C_HEADERS) $(wildcard bindings/cpp/include/*.hpp bindings/cpp/include/*/*.hpp)

$(EXAMPLES_OUT)/camera: examples/camera/camera.c $(C_HEADERS) | lib $(EXAMPLES_OUT)
	@$(CC) $(C_FLAGS) $< -o $@ $(EXAMPLES_LINK)

$(EXAMPLES_OUT)/capture: examples/capture/capture.c $(C_HEADERS) | lib $(EXAMPLES_OUT)
	@$(CC) $(C_FLAGS) $< -o $@ $(EXAMPLES_LINK)

$(EXAMPLES_OUT)/overlap: examples/overlap/overlap.c $(C_HEADERS) | lib $(EXAMPLES_OUT)
	@$(CC) $(C_FLAGS) $< -o $@ $(EXAMPLES_LINK)

$(EXAMPLES_OUT)/overlap_cpp: examples/overlap/overlap.cpp $(EXAMPLES_HEADERS) | lib $(EXAMPLES_OUT)
	@$(EXAMPLES_CXX) $< -o $@ $(EXAMPLES_LINK)

$(EXAMPLES_OUT)/own_memory: examples/own_memory/own_memory.c $(C_HEADERS) | lib $(EXAMPLES_OUT)
	@$(CC) $(C_FLAGS) $< -o $@ $(EXAMPLES_LINK)

$(EXAMPLES_OUT)/decoder: examples/decoder/decoder.cpp $(EXAMPLES_HEADERS) $(CPP_OUT)/torch.flags | lib $(EXAMPLES_OUT)
	@$(EXAMPLES_CXX) -DDLB_NO_SYSTEM_DLPACK -fsyntax-only $< @$(CPP_OUT)/torch.flags
	@$(EXAMPLES_CXX) $< -o $@ @$(CPP_OUT)/torch.flags $(EXAMPLES_LINK)

# $(call missing,LIBRARY,PACKAGE): instead of a program that cannot be built here. It is tried anew each time.
missing = rm -f $@; echo "UNAVAILABLE: $@: no $(1); on Debian: apt-get install $(2)"

OPENCV := $(firstword $(wildcard /usr/include/opencv4 /usr/local/include/opencv4))
$(EXAMPLES_OUT)/opencv: examples/opencv/opencv.cpp $(EXAMPLES_HEADERS) | lib $(EXAMPLES_OUT)
	@$(if $(OPENCV),$(EXAMPLES_CXX) -isystem $(OPENCV) $< -o $@ $(EXAMPLES_LINK) -lopencv_core,$(call missing,OpenCV,libopencv-core-dev))

EIGEN := $(firstword $(wildcard /usr/include/eigen3 /usr/local/include/eigen3))
$(EXAMPLES_OUT)/eigen: examples/eigen/eigen.cpp $(EXAMPLES_HEADERS) | lib $(EXAMPLES_OUT)
	@$(if $(EIGEN),$(EXAMPLES_CXX) -isystem $(EIGEN) $< -o $@ $(EXAMPLES_LINK),$(call missing,Eigen,libeigen3-dev))
