# The C++ tests and example, and the headers by themselves. What is made lies in build/cpp.

CPP_OUT   := build/cpp
# One program per noun, in C++11; those of devices run again with the stand-in for a CUDA driver.
CPP_TESTS   := tensor memory copy cast stack stream staging
CPP_DEVICES := memory stream
CPP_FLAGS := -O1 -g -pthread $(C_WARNINGS) $(INCLUDE) -I$(ROOT)/bindings/cpp/include
CPP_BUILD  = $(CXX) $(CPP_FLAGS) -MMD -MT $@ -MF $@.d $< -o $@
CPP_DRIVEN = LD_LIBRARY_PATH=$(ROOT)/$(STANDIN)
CPP_LINK   = -L$(1) -Wl,-rpath,$(1) -ldlbridge

.PHONY: test-cpp test-cpp-asan test-cpp-torch test-libtorch-versions test-cpp-headers

test-cpp: test-cpp-headers standin $(CPP_TESTS:%=$(CPP_OUT)/%) $(CPP_OUT)/span $(CPP_OUT)/mdspan ## the C++ wrapper
	@set -e; for test in $(CPP_TESTS) span; do $(CPP_OUT)/$$test; done
	@set -e; for test in $(CPP_DEVICES); do $(CPP_DRIVEN) $(CPP_OUT)/$$test; done
	@! test -e $(CPP_OUT)/mdspan || $(CPP_OUT)/mdspan

test-cpp-asan: standin $(CPP_TESTS:%=$(CPP_OUT)/%-asan) $(CPP_OUT)/span-asan ## the same, C++ and Rust under AddressSanitizer
	@set -e; for test in $(CPP_TESTS) span; do $(CPP_OUT)/$$test-asan; done
	@set -e; for test in $(CPP_DEVICES); do $(CPP_DRIVEN) $(CPP_OUT)/$$test-asan; done

test-cpp-torch: $(CPP_OUT)/torch ## the libtorch door, with the torch of .venv
	$(CPP_OUT)/torch

test-libtorch-versions: lib $(VENV)/.ready ## the same with the oldest and the newest libtorch there are: 2.5 GB to download, in build/libtorch
	@CXX="$(CXX)" tests/cpp/torch_versions.sh $(PY) $(LIB_RELEASE) 1.13.0 2.0.0 newest

# dlbridge.hpp compiles alone in each C++, with DLPack's own header and without, behind macros that Qt and Windows have, has
# no dtype for bool, and takes no owner that would keep nothing alive. With hidden symbols its errors stay one type.
CPP_HEADER = $(CXX) -x c++ -fsyntax-only $(CPP_FLAGS) -include dlbridge.hpp
test-cpp-headers: | $(CPP_OUT)
	@for std in c++11 c++14 c++17 c++20 c++23; do \
	    $(CPP_HEADER) -std=$$std /dev/null && $(CPP_HEADER) -std=$$std -DDLB_NO_SYSTEM_DLPACK /dev/null || exit 1; \
	    echo "dlbridge.hpp compiles as $$std"; \
	done
	@for header in $(filter-out %/torch.hpp,$(wildcard bindings/cpp/include/dlbridge/*.hpp)); do \
	    $(CXX) -x c++ -fsyntax-only $(CPP_FLAGS) -std=c++20 -include $$header /dev/null || exit 1; \
	done; echo "each header of dlbridge/ compiles alone"
	@# The C++ library first: it does without the macros, or undefines them.
	@$(CXX) -x c++ -fsyntax-only $(CPP_FLAGS) -std=c++20 -include tests/cpp/macros.hpp -include dlbridge.hpp /dev/null
	@echo "dlbridge.hpp compiles behind macros that others define"
	@echo 'void fails() { throw dlbridge::error(DLB_ERROR_LOSSY, ""); }' | \
	    $(CXX) -x c++ -c $(CPP_FLAGS) -std=c++11 -fvisibility=hidden -include dlbridge.hpp -o $(CPP_OUT)/hidden.o -
	@readelf -sW $(CPP_OUT)/hidden.o | grep -q 'DEFAULT.*_ZTIN8dlbridge5errorE' && echo "an error has one type where symbols are hidden"
	@echo 'int main() { dlbridge::dtype_of<bool>::get(); }' | $(CPP_HEADER) -std=c++11 - 2>&1 | \
	    grep -q 'for bool reinterpret the tensor' && echo "dtype_of<bool> is refused in words"
	@for owner in samples std::free; do \
	    echo "int main() { float samples[2]; dlbridge::tensor::wrap(samples, {2}, $$owner); }" | \
	        $(CPP_HEADER) -include cstdlib -std=c++11 - 2>&1 | grep -q 'a raw pointer owns nothing' || exit 1; \
	done; echo "a raw pointer as owner is refused in words"
	@for owner in '[](void *) {}' '[](float *data) mutable { delete data; }' 'std::default_delete<float>()'; do \
	    for std in c++11 c++20; do \
	        echo "int main() { float samples[2]; dlbridge::tensor::wrap(samples, {2}, $$owner); }" | \
	            $(CPP_HEADER) -std=$$std - 2>&1 | grep -q 'capture the pointer instead' || exit 1; \
	    done; \
	done; echo "a deleter as owner is refused in words"
	@echo 'int main() { struct owned { void operator()() & {} } owner; float samples[2]; dlbridge::tensor::wrap(samples, {2}, owner); }' | \
	    $(CPP_HEADER) -std=c++11 - 2>&1 | grep -q 'take the & from its' && echo "an owner that is called as an lvalue only is refused in words"
	@echo 'int main() { struct alignas(64) aligned {} owner; float samples[2]; dlbridge::tensor::wrap(samples, {2}, owner); }' | \
	    $(CPP_HEADER) -std=c++11 - 2>&1 | grep -q 'compile as C++17' && echo "an owner that C++11 cannot align is refused in words"

$(CPP_OUT):
	@mkdir -p $@

$(CPP_TESTS:%=$(CPP_OUT)/%): $(CPP_OUT)/%: tests/cpp/%.cpp | lib $(CPP_OUT)
	@$(CPP_BUILD) -std=c++11 $(call CPP_LINK,$(LIB_RELEASE))

$(CPP_TESTS:%=$(CPP_OUT)/%-asan): $(CPP_OUT)/%-asan: tests/cpp/%.cpp | lib-asan $(CPP_OUT)
	@$(CPP_BUILD) -std=c++11 $(ASAN) $(call CPP_LINK,$(LIB_ASAN))

$(CPP_OUT)/span: tests/cpp/span.cpp | lib $(CPP_OUT)
	@$(CPP_BUILD) -std=c++20 $(call CPP_LINK,$(LIB_RELEASE))

$(CPP_OUT)/span-asan: tests/cpp/span.cpp | lib-asan $(CPP_OUT)
	@$(CPP_BUILD) -std=c++20 $(ASAN) $(call CPP_LINK,$(LIB_ASAN))

# The same file again, with its second half, by the first compiler that has C++23's <mdspan>. Undefined behaviour traps.
# Where no compiler has it, that is said, and tried anew each time.
CXX_MDSPAN = $(shell for cxx in '$(CXX)' 'clang++-19 -stdlib=libc++' 'clang++ -stdlib=libc++'; do \
    $$cxx -std=c++23 -x c++ -include mdspan -fsyntax-only /dev/null 2>/dev/null && { echo $$cxx; break; }; done)
$(CPP_OUT)/mdspan: tests/cpp/span.cpp | lib $(CPP_OUT)
	@$(if $(CXX_MDSPAN),$(CPP_BUILD:$(CXX)%=$(CXX_MDSPAN)%) -std=c++23 -fsanitize=undefined \
	    -fsanitize-undefined-trap-on-error $(call CPP_LINK,$(LIB_RELEASE)),\
	    rm -f $@; echo "UNAVAILABLE: no compiler here has <mdspan>; on Debian: apt-get install clang-19 libc++-19-dev libc++abi-19-dev")

# torch.cpp includes ATen before dlbridge; examples/decoder after it, where DLPack's own header and ours come first.
$(CPP_OUT)/torch: tests/cpp/torch.cpp $(CPP_OUT)/torch.flags | lib
	@$(CPP_BUILD) -std=c++17 @$(CPP_OUT)/torch.flags $(call CPP_LINK,$(LIB_RELEASE))

# What to compile and link with, asked of the torch in .venv.
$(CPP_OUT)/torch.flags: tests/cpp/torch_flags.py $(VENV)/.ready | $(CPP_OUT)
	@$(PY) $< > $@.new && mv $@.new $@

-include $(wildcard $(CPP_OUT)/*.d)
