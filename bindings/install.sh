#!/bin/sh
# Usage: install.sh put LIBRARY_DIRECTORY | install.sh remove
# Puts the library, its headers and what pkg-config and CMake need into a prefix, or takes them away again. PREFIX, LIBDIR
# and INCLUDEDIR are absolute; DESTDIR goes before all three. Needs binutils for readelf.
set -eu
cd "$(dirname "$0")/.."

for folder in "$PREFIX" "$LIBDIR" "$INCLUDEDIR"; do
    case $folder in
    /*) ;;
    *) echo "'$folder' is no absolute path; give one, such as PREFIX=\"\$PWD/$folder\"" >&2; exit 1 ;;
    esac
done
command -v readelf >/dev/null || { echo "readelf is missing; install binutils" >&2; exit 1; }
lib=${DESTDIR:-}$LIBDIR
include=${DESTDIR:-}$INCLUDEDIR

package() { sed -n "s/^$1 = \"\(.*\)\"/\1/p" Cargo.toml | head -n 1; }
library=$lib/libdlbridge.so.$(package version)

# The links beside the library: under its soname for programs, without a version for the linker. build.rs decides the
# soname; here it is read back.
links() { echo libdlbridge.so; readelf -d "$library" | sed -n 's/.*soname: \[\(.*\)\]/\1/p'; }

# What is copied as it is: "source|target" lines. @ stands for the folder that the library was built in.
files() {
    cat <<END
@/libdlbridge.so|$library
@/libdlbridge.a|$lib/libdlbridge.a
include/dlbridge.h|$include/dlbridge.h
include/dlbridge/dlpack_abi.h|$include/dlbridge/dlpack_abi.h
bindings/cpp/include/dlbridge.hpp|$include/dlbridge.hpp
bindings/cpp/include/dlbridge/torch.hpp|$include/dlbridge/torch.hpp
bindings/cmake/dlbridge-config.cmake|$lib/cmake/dlbridge/dlbridge-config.cmake
bindings/cmake/dlbridge-config-version.cmake|$lib/cmake/dlbridge/dlbridge-config-version.cmake
END
}

# Paths relative to the file itself, so that the prefix may be moved. What a static link needs, rustc knows.
pkg_config_file() {
    from_pc() { realpath -m --relative-to="$LIBDIR/pkgconfig" "$1"; }
    static=$(rustc --crate-type staticlib --print native-static-libs -o "$work/empty.a" - 2>&1 </dev/null |
        sed -n 's/.*native-static-libs: //p')
    [ -n "$static" ] || { echo "rustc does not say what a static link needs; install a Rust toolchain" >&2; exit 1; }
    sed -e "s|@PREFIX@|$(from_pc "$PREFIX")|" -e "s|@LIBDIR@|\${pcfiledir}/$(from_pc "$LIBDIR")|" \
        -e "s|@INCLUDEDIR@|\${pcfiledir}/$(from_pc "$INCLUDEDIR")|" -e "s|@VERSION@|$(package version)|" \
        -e "s|@DESCRIPTION@|$(package description)|" -e "s|@LIBS_PRIVATE@|$static|" bindings/pkgconfig/dlbridge.pc.in
}

put() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    files | while IFS='|' read -r source target; do
        mode=644
        [ "$target" != "$library" ] || mode=755
        install -D -m "$mode" "$(echo "$source" | sed "s|^@|$1|")" "$target"
    done
    links | while read -r name; do ln -sf "${library##*/}" "$lib/$name"; done
    pkg_config_file >"$work/dlbridge.pc"
    install -D -m 644 "$work/dlbridge.pc" "$lib/pkgconfig/dlbridge.pc"
    echo "installed ${library##*/} in $lib, headers in $include"
}

remove() {
    [ -e "$library" ] || { echo "there is no $library; give the PREFIX, LIBDIR and DESTDIR it was installed with" >&2; exit 1; }
    links | while read -r name; do
        [ "$(readlink "$lib/$name")" != "${library##*/}" ] || rm -f "$lib/$name"
    done
    files | while IFS='|' read -r _ target; do rm -f "$target"; done
    rm -f "$lib/pkgconfig/dlbridge.pc"
    for folder in "$lib/cmake/dlbridge" "$lib/cmake" "$lib/pkgconfig" "$lib" "$include/dlbridge" "$include"; do
        rmdir "$folder" 2>/dev/null || true # other people's files keep a folder
    done
    echo "removed ${library##*/} from $lib, headers from $include"
}

"$@"
