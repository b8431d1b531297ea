#!/bin/sh
# Usage: headers.sh INCLUDE_DIRECTORY
# Every public C header compiles alone, without a warning, in every supported standard of C and C++: on its own
# declarations, on those of an installed <dlpack/dlpack.h>, and with that header included before it and after it.
set -eu

include=$1
cc=${CC:-cc}
cxx=${CXX:-c++}
flags="-Wall -Wextra -Wpedantic -Werror -I$include -c -o /dev/null"
compiled=0

# The layout that the ABI fixes, in a form that C99 and C++11 read alike.
layout='
typedef char dltensor_is_48[sizeof(DLTensor) == 48 ? 1 : -1];
typedef char legacy_is_64[sizeof(DLManagedTensor) == 64 ? 1 : -1];
typedef char versioned_is_80[sizeof(DLManagedTensorVersioned) == 80 ? 1 : -1];
typedef char prefix_is_32[offsetof(DLManagedTensorVersioned, dl_tensor) == 32 ? 1 : -1];
typedef char flags_are_1_2_4[DLPACK_FLAG_BITMASK_READ_ONLY == 1 && DLPACK_FLAG_BITMASK_IS_COPIED == 2 &&
                             DLPACK_FLAG_BITMASK_IS_SUBBYTE_TYPE_PADDED == 4 ? 1 : -1];
typedef char newer_names_are_there[kDLBool == 6 && kDLFloat8_e3m4 == 7 && kDLFloat8_e8m0fnu == 14 &&
                                   kDLFloat4_e2m1fn == 17 && (int)kDLOneAPI == 14 && (int)kDLWebGPU == 15 &&
                                   (int)kDLHexagon == 16 && (int)kDLMAIA == 17 && (int)kDLTrn == 18 ? 1 : -1];'

# compile DEFINITION INCLUDES...: one file that includes these, in each standard
compile() {
    definition=$1
    shift
    source=$(for header in "$@"; do echo "#include <$header>"; done; echo "$layout")
    for standard in c99 c11 c17 c++11 c++17 c++20; do
        case $standard in
        c++*) compiler="$cxx -x c++" ;;
        *) compiler="$cc -x c" ;;
        esac
        # shellcheck disable=SC2086
        if ! echo "$source" | $compiler -std=$standard $definition $flags -; then
            echo "FAILED: $standard $definition $*" >&2
            exit 1
        fi
        compiled=$((compiled + 1))
    done
}

headers=$(cd "$include" && find . -name '*.h' | sed 's|^\./||' | sort)
for header in $headers; do
    compile -DDLB_NO_SYSTEM_DLPACK "$header"
    compile -DDLB_NO_SYSTEM_DLPACK "$header" "$header"
done
echo "own DLPack declarations: $compiled compilations of" $headers

if ! echo '#include <dlpack/dlpack.h>' | $cc -x c -fsyntax-only - 2>/dev/null; then
    echo "system <dlpack/dlpack.h>: UNAVAILABLE, not checked (Debian: apt install libdlpack-dev)"
    exit 0
fi
compiled=0
for header in $headers; do
    for definition in -DDLB_NO_SYSTEM_DLPACK -DDLB_SYSTEM_DLPACK_IS_WELCOME; do
        compile $definition "$header"
        compile $definition "$header" dlpack/dlpack.h
        compile $definition dlpack/dlpack.h "$header"
    done
done
version=$(printf '%s\n' '#include <dlpack/dlpack.h>' '#ifdef DLPACK_MAJOR_VERSION' \
    'DLPACK_MAJOR_VERSION DLPACK_MINOR_VERSION' '#else' 'before 1.0' '#endif' | $cc -x c -E -P - | tail -n 1)
echo "system <dlpack/dlpack.h> ($version): $compiled compilations, alone, before and after it"
