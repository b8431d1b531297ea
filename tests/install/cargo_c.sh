#!/bin/sh
# Usage: cargo_c.sh WORK_DIRECTORY
# What cargo-c installs is what make installs: the same names with the same headers, the same soname, and a program can be
# built from it. The CMake package is in share/cmake/dlbridge, and dlbridge.pc is cargo-c's own.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$1
cargo=${CARGO:-cargo}
$cargo cinstall --version >/dev/null 2>&1 || { echo "cargo-c: UNAVAILABLE, not checked (cargo install cargo-c)"; exit 0; }
fail() { echo "FAILED: $*" >&2; exit 1; }

rm -rf "$work" && mkdir -p "$work"
cd "$root"
$cargo cinstall --prefix="$work/theirs" --libdir=lib --target-dir "$root/target/cargo-c" >"$work/log" 2>&1 ||
    { cat "$work/log"; exit 1; }
make -s install PREFIX="$work/ours"
mkdir -p "$work/ours/share" && mv "$work/ours/lib/cmake" "$work/ours/share/cmake"

names() { (cd "$1" && find . ! -type d | sort); }
[ "$(names "$work/ours")" = "$(names "$work/theirs")" ] || {
    names "$work/ours" >"$work/names"
    names "$work/theirs" | diff "$work/names" - || fail "make install and cargo cinstall differ"
}
for folder in include share; do diff -r "$work/ours/$folder" "$work/theirs/$folder" || fail "$folder differs"; done
soname() { readelf -d "$1/lib/libdlbridge.so" | sed -n 's/.*soname: \[\(.*\)\]/\1/p'; }
[ "$(soname "$work/ours")" = "$(soname "$work/theirs")" ] || fail "the sonames differ"
for tree in ours theirs; do
    export PKG_CONFIG_PATH="$work/$tree/lib/pkgconfig"
    # shellcheck disable=SC2046
    ${CC:-cc} tests/install/main.c -o "$work/$tree/main" $(pkg-config --cflags --libs dlbridge)
    LD_LIBRARY_PATH=$work/$tree/lib "$work/$tree/main"
    pkg-config --modversion dlbridge >"$work/$tree.version"
    pkg-config --static --libs-only-l dlbridge | tr -d '\n' >"$work/$tree.static"
    cmake -S tests/install -B "$work/$tree/cmake" -DCMAKE_PREFIX_PATH="$work/$tree" -DVERSION="$(cat "$work/$tree.version")" \
        -DCOMPONENTS='shared;static' >"$work/log" && cmake --build "$work/$tree/cmake" >>"$work/log" || { cat "$work/log"; exit 1; }
    for program in "$work/$tree"/cmake/s*-main.c*; do "$program"; done
done
cmp "$work/ours.version" "$work/theirs.version"
cmp "$work/ours.static" "$work/theirs.static"
echo "cargo-c: the tree of make install, with $(soname "$work/theirs")"
