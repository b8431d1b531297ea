#!/bin/sh
# Usage: install.sh WORK_DIRECTORY
# Installs into an empty prefix and builds programs from that alone, with pkg-config and with CMake, statically and
# dynamically, in C and C++; moves the prefix and does it again; uninstalls, and nothing may remain.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
work=$1
cc=${CC:-cc}
cxx=${CXX:-c++}
abi=$(sed -n 's/^version = "\(0\.[0-9]*\|[0-9]*\)\..*"/\1/p' "$root/Cargo.toml" | head -n 1)
soname=libdlbridge.so.$abi

fail() { echo "FAILED: $*" >&2; exit 1; }
for tool in pkg-config cmake readelf; do
    command -v $tool >/dev/null || fail "$tool is missing; on Debian: apt-get install pkg-config cmake binutils"
done

# needs PROGRAM yes|no: whether it asks for the shared library, by its soname
needs() {
    if readelf -d "$1" | grep -q "NEEDED.*\[$soname\]"; then found=yes; else found=no; fi
    [ "$found" = "$2" ] || fail "$1 needs $soname: $found, not $2"
}

# run PROGRAM: it has to start and to return 0
run() {
    env -u LD_LIBRARY_PATH "$1" || fail "$1 returned $?"
    count=$((count + 1))
}

# consumers PREFIX LIBDIR: every program, built and run from the tree at PREFIX
consumers() {
    out=$work/programs
    rm -rf "$out" && mkdir -p "$out"
    count=0
    export PKG_CONFIG_PATH="$2/pkgconfig"
    pkg-config --exists "dlbridge >= $abi" || fail "pkg-config does not find dlbridge in $PKG_CONFIG_PATH"
    for source in main.c main.cpp; do
        compiler=$cc
        [ $source = main.c ] || compiler=$cxx
        # shellcheck disable=SC2046
        {
            $compiler "$here/$source" -o "$out/dynamic-$source" $(pkg-config --cflags --libs dlbridge) \
                -Wl,-rpath,$(pkg-config --variable=libdir dlbridge)
            $compiler "$here/$source" -o "$out/static-$source" \
                $(pkg-config --cflags --static --libs dlbridge | sed 's/-ldlbridge/-l:libdlbridge.a/')
        }
        # Static altogether, as README says; ld warns of dlopen and the like.
        # shellcheck disable=SC2046
        $compiler -static "$here/$source" -o "$out/alone-$source" \
            $(pkg-config --cflags --static --libs dlbridge | sed 's/-lgcc_s/-lgcc_eh/') 2>"$out/warnings" ||
            { cat "$out/warnings"; fail "$source does not link with -static"; }
        run "$out/alone-$source"
        needs "$out/dynamic-$source" yes
        needs "$out/static-$source" no
        run "$out/dynamic-$source"
        run "$out/static-$source"
    done
    cmake -S "$here" -B "$out/cmake" -DCMAKE_PREFIX_PATH="$1" -DVERSION="$abi" -DCOMPONENTS='shared;static' >"$out/log" &&
        cmake --build "$out/cmake" >>"$out/log" || { cat "$out/log"; fail "CMake does not find or build"; }
    for source in main.c main.cpp; do
        needs "$out/cmake/shared-$source" yes
        needs "$out/cmake/static-$source" no
        run "$out/cmake/shared-$source"
        run "$out/cmake/static-$source"
    done
    echo "install: $count programs in C and C++ from $1"
}

# refused WORDS ARGUMENTS...: CMake says so and stops
refused() {
    words=$1
    shift
    if cmake -S "$here" -B "$work/refused" "$@" >"$work/log" 2>&1; then fail "CMake accepts $*"; fi
    tr -s ' \n' ' ' <"$work/log" | grep -q "$words" || { cat "$work/log"; fail "CMake does not say '$words'"; }
    rm -rf "$work/refused"
}

rm -rf "$work" && mkdir -p "$work"
make -s -C "$root" install PREFIX="$work/a prefix"
mv "$work/a prefix" "$work/prefix"
consumers "$work/prefix" "$work/prefix/lib"
refused "no component 'magic'" -DCMAKE_PREFIX_PATH="$work/prefix" -DVERSION="$abi" -DCOMPONENTS=magic
for version in 99 0.99 "$abi.99" 0.0; do
    refused "compatible with requested version \"$version\"" -DCMAKE_PREFIX_PATH="$work/prefix" -DVERSION=$version
done
mv "$work/prefix" "$work/moved"
consumers "$work/moved" "$work/moved/lib"
mv "$work/moved" "$work/a prefix"
touch "$work/a prefix/lib/theirs"
make -s -C "$root" uninstall PREFIX="$work/a prefix"
[ "$(find "$work/a prefix" ! -type d)" = "$work/a prefix/lib/theirs" ] || fail "uninstall took or left too much"
rm "$work/a prefix/lib/theirs"

words=$(make -s -C "$root" install PREFIX=somewhere 2>&1) && fail "a relative prefix is accepted"
case $words in *"'somewhere' is not absolute"*) ;; *) fail "of a relative prefix it says: $words" ;; esac

# As a packager does it: staged below DESTDIR, with library and header folders of several parts. And as root does it: no cargo.
staged="PREFIX=/usr LIBDIR=/usr/lib/x86_64-linux-gnu INCLUDEDIR=/usr/include/dlbridge-$abi"
# shellcheck disable=SC2086
make -s -C "$root" install DESTDIR="$work/stage" $staged CARGO=no-cargo-here
consumers "$work/stage/usr" "$work/stage/usr/lib/x86_64-linux-gnu"
# shellcheck disable=SC2086
make -s -C "$root" uninstall DESTDIR="$work/stage" $staged
left=$(find "$work/a prefix" "$work/stage" ! -type d)
[ -z "$left" ] || fail "uninstall leaves $left"
echo "install: uninstall leaves nothing"
