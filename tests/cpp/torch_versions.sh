#!/bin/sh
# tests/cpp/torch.cpp with other libtorches than that of .venv: torch_versions.sh PYTHON LIBRARY_DIRECTORY VERSION...
# Each is fetched once, into build/libtorch, with no more than libtorch_cpu.so needs: 0.6 to 0.9 GB to download.
# VERSION may be "newest".
set -eu
python=$1 library=$2
shift 2

fetch() { # TARGET REQUIREMENT...
  target=$1
  shift
  "$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$target" "$@"
}

# What a version's libtorch_cpu.so is linked to beside itself: CUDA's runtime and its profiler.
requirements='
import importlib.metadata, sys
from packaging.requirements import Requirement
found = importlib.metadata.distributions(path=[sys.argv[1]])
torch = next(distribution for distribution in found if distribution.metadata["Name"] == "torch")
for line in torch.requires or []:
    wanted = Requirement(line)
    [version] = [specifier.version for specifier in wanted.specifier][:1] or [None]
    if wanted.name.startswith(("nvidia-cuda-runtime", "nvidia-cuda-cupti")):
        print(f"{wanted.name}=={version}")
    elif wanted.name == "cuda-toolkit":
        release = version.rpartition(".")[0]
        print(f"nvidia-cuda-runtime=={release}.* nvidia-cuda-cupti=={release}.*")
'

for version in "$@"; do
  place=build/libtorch/$version
  if [ ! -e "$place/fetched" ]; then
    echo "fetching torch $version"
    mkdir -p "$place"
    fetch "$place" "torch$([ "$version" = newest ] || echo "==$version")"
      needed=$("$python" -c "$requirements" "$place")
    [ -z "$needed" ] || fetch "$place" $needed
    touch "$place/fetched"
  fi
  torch=$place/torch
  standard=c++17 # or what its headers ask for
  ${CXX:-c++} -std=$standard -fsyntax-only -x c++ -I"$torch/include" -include ATen/ATen.h /dev/null 2>/dev/null || standard=c++20
  new_abi=$(nm -DC "$torch/lib/libc10.so" | grep -q 'c10::.*__cxx11' && echo 1 || echo 0)
  ${CXX:-c++} -O1 -Wall -Wextra -Wpedantic -Werror -std=$standard -D_GLIBCXX_USE_CXX11_ABI="$new_abi" -pthread \
    -Iinclude -Ibindings/cpp/include -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include" \
    tests/cpp/torch.cpp -o "$place/program" -L"$library" -ldlbridge -L"$torch/lib" -ltorch_cpu -lc10 \
    -Wl,--allow-shlib-undefined
  echo "torch $version, $standard, _GLIBCXX_USE_CXX11_ABI=$new_abi"
  LD_LIBRARY_PATH=$library:$torch/lib:$(echo "$place"/nvidia/*/lib | tr ' ' ':') "$place/program" | tail -n 1
done
