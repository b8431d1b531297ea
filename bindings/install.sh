#!/bin/sh
# Usage: install.sh put LIBRARY_DIRECTORY | install.sh remove
# Puts the library, its headers and what pkg-config and CMake need into a prefix, or takes them away again. PREFIX, LIBDIR
# and INCLUDEDIR are absolute; DESTDIR goes before all three. Needs binutils for readelf.
set -eu
umask 022
cd "$(dirname "$0")/.."

for folder in "$PREFIX" "$LIBDIR" "$INCLUDEDIR"; do
    case $folder in
    /*) ;;
    *) echo "'$folder' is not absolute; give PREFIX, LIBDIR and INCLUDEDIR as absolute paths" >&2; exit 1 ;;
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
bindings/cmake/dlbridge-config.cmake|$lib/cmake/dlbridge/dlbridge-config.cmake
bindings/cmake/dlbridge-config-version.cmake|$lib/cmake/dlbridge/dlbridge-config-version.cmake
END
    (cd bindings/cpp/include && find . -name '*.hpp') | while read -r header; do
        echo "bindings/cpp/include/$header|$include/$header"
    done
}

# Paths relative to the file itself, so that the prefix may be moved.
pkg_config_file() {
    from_pc() { realpath -m --relative-to="$LIBDIR/pkgconfig" "$1"; }
    sed -e "s|@PREFIX@|$(from_pc "$PREFIX")|" -e "s|@LIBDIR@|\${pcfiledir}/$(from_pc "$LIBDIR")|" \
        -e "s|@INCLUDEDIR@|\${pcfiledir}/$(from_pc "$INCLUDEDIR")|" -e "s|@VERSION@|$(package version)|" \
        -e "s|@DESCRIPTION@|$(package description)|" -e "s|@LIBS_PRIVATE@|$(cat "$1/libdlbridge.libs")|" \
        bindings/pkgconfig/dlbridge.pc.in
}

put() {
    [ -s "$1/libdlbridge.libs" ] || { echo "$1 has no finished library; run make lib first" >&2; exit 1; }
    files | while IFS='|' read -r source target; do
        case $source in @*) source=$1${source#@} ;; esac
        mode=644
        [ "$target" != "$library" ] || mode=755
        install -D -m "$mode" "$source" "$target"
    done
    links | while read -r name; do ln -sf "${library##*/}" "$lib/$name"; done
    mkdir -p "$lib/pkgconfig"
    pkg_config_file "$1" >"$lib/pkgconfig/dlbridge.pc"
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
