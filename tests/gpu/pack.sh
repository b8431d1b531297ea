#!/bin/sh
# pack.sh WHEEL LIBRARY PYTHON OUT PROGRAM...: all that check.sh needs, in the folder OUT: the wheel unpacked, the tests, the
# benchmark, pytest out of PYTHON's packages (all of them plain Python), and C programs with the library they are linked to.
set -eu
wheel=$1 library=$2 python=$3 out=$4
shift 4
rm -rf "$out"
mkdir -p "$out/site" "$out/tests/python" "$out/tests/gpu" "$out/benches" "$out/c" "$out/lib"
"$python" -m zipfile -e "$wheel" "$out/site"
packages=$("$python" -c 'import pytest, os; print(os.path.dirname(os.path.dirname(pytest.__file__)))')
for package in pytest _pytest pluggy iniconfig packaging pygments; do
    test ! -d "$packages/$package" || cp -r "$packages/$package" "$out/site/"
done
find "$out/site" -name __pycache__ -prune -exec rm -rf {} +
# pytest looks its own version up.
cp -r "$packages"/pytest-*.dist-info "$packages"/pluggy-*.dist-info "$out/site/"
cp -r tests/python/device tests/python/conftest.py tests/python/dlpack_structs.py tests/python/test_future.py \
    tests/python/stagers.py tests/python/test_process.py "$out/tests/python/"
cp tests/gpu/probe.py "$out/tests/gpu/"
cp benches/device.py benches/staging.py benches/staging_device.py "$out/benches/"
cp tests/gpu/check.sh "$out/"
cp "$library" "$out/lib/$(readelf -d "$library" | sed -n 's/.*soname: \[\(.*\)\]/\1/p')"
for program in "$@"; do cp "$program" "$out/c/"; done
find "$out" -name __pycache__ -prune -exec rm -rf {} +
tar -czf "$out.tar.gz" -C "$(dirname "$out")" "$(basename "$out")"
