"""Puts the shared library, the headers and the CMake package into the wheel, and gives it the tag of its platform.

Needs cargo, and the repository around this folder or, in an sdist, the part of it in `crate/`. `DLBRIDGE_LIBRARY`
names a shared library to take instead of building one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).resolve().parent
ROOT = HERE / "crate" if (HERE / "crate").is_dir() else HERE.parents[1]
HEADER_FOLDERS = (ROOT / "include", ROOT / "bindings" / "cpp" / "include")
CMAKE_FOLDER = ROOT / "bindings" / "cmake"


def shared_library() -> Path:
    if given := os.environ.get("DLBRIDGE_LIBRARY"):
        return Path(given)
    if shutil.which("cargo") is None:
        raise RuntimeError("cargo is missing; install Rust (https://rustup.rs), or take a wheel")
    subprocess.run(["cargo", "build", "--release", "--lib"], cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "libdlbridge.so"


def soname(library: Path) -> str:
    """The name that programs linked to the library look for. build.rs decides it; here it is read back."""
    found = re.search(rb"libdlbridge\.so\.[0-9.]+", library.read_bytes())
    if found is None:
        raise RuntimeError(f"{library} has no soname; build it with cargo build --release")
    return found.group().decode()


class LibraryHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
        include = build_data["force_include"]
        library = shared_library()
        include[str(library)] = f"dlbridge/{soname(library)}"
        for folder in HEADER_FOLDERS:
            for header in sorted(folder.rglob("*.h*")):
                include[str(header)] = f"dlbridge/include/{header.relative_to(folder)}"
        include[str(CMAKE_FOLDER)] = "dlbridge/cmake"
