#!/bin/sh
# Makes .venv, the Python environment of the demo and the tests: environment.sh BASE_PYTHON
# Where BASE_PYTHON has a torch already, that one is used and none is fetched.
set -eu
base=$1
root=$(cd "$(dirname "$0")/.." && pwd)
venv=$root/.venv
wanted=$root/tests/requirements.txt

"$base" -c 'import venv, ensurepip' 2>/dev/null || {
  echo "$base cannot make virtual environments; on Debian: apt-get install python3-venv" >&2
  exit 1
}
"$base" -m venv "$venv"

if site=$("$base" -c 'import importlib.util as u, pathlib; print(pathlib.Path(u.find_spec("torch").origin).parents[1])' 2>/dev/null); then
  echo "using the torch in $site"
  echo "$site" >"$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/existing-torch.pth"
  grep -v '^torch' "$wanted" >"$venv/requirements.txt"
else
  echo "fetching torch 2.13.0 and the CUDA libraries it wants: about 2.8 GB to download, 5 GB on disk"
  echo "(to use a torch that is there already: make demo PYTHON=/path/to/its/python, after make clean)"
  cp "$wanted" "$venv/requirements.txt"
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$venv/requirements.txt"
