#!/bin/sh
# Usage: library.sh SOURCE_ROOT BUILD_DIRECTORY LIBRARY_DIRECTORY...
# What the built library is, as a linker, a packager and a loader see it. One line per fact, with its value.
set -eu

root=$1
build=$2
shift 2
release=$1
largest=3000000
header=$root/include/dlbridge.h
mkdir -p "$build"

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

for tool in readelf nm strip; do
    command -v $tool >/dev/null || fail "$tool is missing; install binutils"
done

dynamic() { readelf -dW "$1/libdlbridge.so" | sed -n "s/.*($2).*\[\(.*\)\]/\1/p"; }

# The version decides the soname: 0.MINOR while the major version is 0.
number() { sed -n "s/^#define DLB_VERSION_$1 //p" "$header"; }
abi=$(number MAJOR)
[ "$abi" != 0 ] || abi=0.$(number MINOR)
expected_soname=libdlbridge.so.$abi

soname=$(dynamic "$release" SONAME)
[ "$soname" = "$expected_soname" ] || fail "soname is '$soname', not '$expected_soname'"
echo "soname:      $soname"

needed=$(dynamic "$release" NEEDED | sort | tr '\n' ' ')
for library in $needed; do
    case $library in
    libc.so.* | libgcc_s.so.* | libm.so.* | ld-linux*) ;;
    *) fail "the library needs $library, which is not the C runtime" ;;
    esac
done
echo "needs:       $needed"

exported=$(nm -D --defined-only "$release/libdlbridge.so" | awk '{ print $NF }' | sort)
strange=$(echo "$exported" | grep -v '^dlb_' || true)
[ -z "$strange" ] || fail "exported, but not dlb_*:" $strange
declared=$(sed -n 's/^[a-zA-Z].*[ *]\(dlb_[a-z_]*\)(.*/\1/p' "$header" | sort)
[ "$exported" = "$declared" ] || fail "what the header declares and the library exports differ:
$(printf '%s\n%s\n' "$declared" "$exported" | sort | uniq -u)"
echo "exports:     $(echo "$exported" | wc -l) functions, dlb_* alone, each declared in dlbridge.h"

strip -o "$build/stripped.so" "$release/libdlbridge.so"
size=$(wc -c <"$build/stripped.so")
[ "$size" -lt "$largest" ] || fail "stripped, the library has $size bytes; the limit is $largest"
echo "stripped:    $size bytes (limit $largest)"

for directory in "$@"; do
    link=$directory/$(dynamic "$directory" SONAME)
    [ -e "$link" ] || fail "$link is missing, so nothing linked there would start; run make lib lib-debug"
    cmp -s "$link" "$directory/libdlbridge.so" || fail "$link is not the library beside it"
    printf '#include <dlbridge.h>\n#include <stdio.h>\nint main(void) { return puts(dlb_version()) == EOF; }\n' |
        ${CC:-cc} -x c -I"$root/include" -o "$build/starts" - -L"$directory" -ldlbridge -Wl,-rpath,"$directory"
    version=$(env -u LD_LIBRARY_PATH "$build/starts") || fail "a program linked to $directory does not start"
    [ "$version" = "$(number MAJOR).$(number MINOR).$(number PATCH)" ] || fail "$directory says version $version"
    echo "starts with: ${directory#"$root"/} (version $version, link $(basename "$link"))"
done
