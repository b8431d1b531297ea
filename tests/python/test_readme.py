"""The README's programs are programs: what it shows compiles and runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import dlbridge

ROOT = Path(__file__).resolve().parents[2]


def block(language: str) -> str:
    """The first block of a language in the README."""
    found = re.search(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert found, language
    return found.group(1)


def test_the_c_program(tmp_path: Path) -> None:
    source, program = tmp_path / "main.c", tmp_path / "main"
    source.write_text(block("c"))
    library = Path(dlbridge.get_library())
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    command = [
        os.environ.get("CC", "cc"),
        *warnings,
        f"-I{dlbridge.get_include()}",
        "-o",
        str(program),
        str(source),
    ]
    subprocess.run([*command, str(library), f"-Wl,-rpath,{library.parent}"], check=True)
    subprocess.run([str(program)], check=True)


def test_the_python_program() -> None:
    subprocess.run([sys.executable, "-c", block("python")], check=True)
