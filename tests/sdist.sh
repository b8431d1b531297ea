#!/bin/sh
# Usage: sdist.sh PYTHON SDIST
# `pip install` of the sources alone, in a fresh environment; CARGO_TARGET_DIR may keep what cargo has built before.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$1" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy "$2"
(cd "$work" && "$work/venv/bin/python" "$here/wheel_smoke.py")
echo "sdist:  $(basename "$2"), $(wc -c <"$2") bytes, builds and runs"
