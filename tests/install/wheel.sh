#!/bin/sh
# Usage: wheel.sh WORK_DIRECTORY PYTHON WHEEL
# A Python program with the wheel alone, then C and C++ programs with the library, headers and CMake package in it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$1
command -v cmake >/dev/null || { echo "cmake is missing; on Debian: apt-get install cmake" >&2; exit 1; }

rm -rf "$work" && mkdir -p "$work"
"$2" -m venv "$work/venv"
python=$work/venv/bin/python
"$python" -m pip install --quiet --disable-pip-version-check numpy "$3"
(cd "$work" && "$python" "$here/main.py")

version=$("$python" -c 'import dlbridge; print(dlbridge.__version__)')
configure() { cmake -S "$here" -B "$work/cmake" -Ddlbridge_DIR="$("$python" -m dlbridge path cmake)" -DVERSION="$version" "$@"; }
{ configure -DCOMPONENTS=shared && cmake --build "$work/cmake"; } >"$work/log" || { cat "$work/log"; exit 1; }
for program in "$work"/cmake/shared-main.c*; do "$program"; done
if configure -DCOMPONENTS=static >"$work/log" 2>&1; then echo "the wheel has a static library" >&2; exit 1; fi
grep -q "no component 'static'" "$work/log" || { cat "$work/log"; exit 1; }
echo "install: programs in Python, C and C++ from the wheel alone"
