#!/bin/sh
# The wheel on every CPython there is: wheel.sh WHEEL. Fresh environments, with nothing on PATH but Python, so that no
# compiler and no Rust can help; a CPython that has no NumPy to install says so.
set -eu
wheel=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

size=$(wc -c <"$wheel")
echo "wheel:  $(basename "$wheel"), $size bytes (limit 1500000)"
[ "$size" -lt 1500000 ]
case $wheel in *-py3-none-manylinux*) ;; *) echo "it is tagged for one machine only" >&2; exit 1 ;; esac

passed=0
for minor in 9 10 11 12 13 14; do
  for python in "python3.$minor" "$HOME"/.pyenv/versions/3."$minor".*/bin/python3; do
    "$python" -c '' 2>/dev/null || continue
    "$python" -m venv "$work/$minor"
    "$work/$minor/bin/python" -m pip install --quiet --disable-pip-version-check numpy "$wheel"
    (cd "$work" && PATH=$work/$minor/bin "$work/$minor/bin/python" "$here/wheel_smoke.py")
    passed=$((passed + 1))
    break
  done
done
echo "$passed passed, 0 failed"
[ "$passed" -gt 0 ]
