#!/bin/sh
# check.sh [DEVICE]: the tests of devices and their benchmark, on a machine with an NVIDIA GPU.
#
# Runs from the folder that tests/gpu/pack.sh made, which has all it needs but Python 3.12 or so with NumPy and torch (with
# CuPy and JAX it tries more): no compiler, no Rust, no network. PYTHON names the interpreter. What was measured is written
# to results/. Ends with 0 if everything passed; where there is no GPU it says UNAVAILABLE and why, and fails.
set -u
here=$(cd "$(dirname "$0")" && pwd)
device=${1:-cuda:0}
python=${PYTHON:-python3}
export PYTHONPATH="$here/site" PYTHONDONTWRITEBYTECODE=1

"$python" "$here/tests/gpu/probe.py" "$device" || exit 1
failed=
note() { echo "FAILED: $1"; failed="$failed $1"; }

cd "$here/tests/python" || exit 1
tests() { timeout -k 5 300 "$python" -m pytest -q -rs -o faulthandler_timeout=60 -p no:cacheprovider "$@"; }
DLBRIDGE_DEVICE=$device tests device || note "the device tests in Python"
tests test_future.py || note "test_future.py"
for program in "$here"/c/*; do
    LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" timeout -k 5 60 "$program" >"$program.log" 2>&1 || {
        grep -v '^ok ' "$program.log"
        note "$(basename "$program")"
    }
    echo "$(basename "$program"): $(tail -n 1 "$program.log")"
done
for bench in device staging_device; do
    timeout -k 5 300 "$python" "$here/benches/$bench.py" --device "$device" --out "$here/results" || note "$bench.py"
done
test -z "$failed" || { echo "failed:$failed"; exit 1; }
echo "all passed on $device"
