"""The README's programs are programs, and so is the header's: what they show compiles and runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dlbridge

ROOT = Path(__file__).resolve().parents[2]


def blocks(language: str) -> list[str]:
    """The blocks of a language in the README."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def of_the_header() -> str:
    """The program in the comment at the top of the header."""
    top = Path(dlbridge.get_include(), "dlbridge.h").read_text().partition("*/")[0]
    program = re.sub(r"^ \*(   )?", "", top, flags=re.MULTILINE)
    return program[program.index("#include") :].partition("\n}\n")[0] + "\n}\n"


def build_and_run(source: Path, compiler: list[str]) -> str:
    library = Path(dlbridge.get_library())
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    command = [*compiler, *warnings, f"-I{dlbridge.get_include()}", "-o", "main", str(source), str(library)]
    subprocess.run([*command, f"-Wl,-rpath,{library.parent}"], check=True, cwd=source.parent)
    return subprocess.run(["./main"], check=True, cwd=source.parent, capture_output=True, text=True).stdout


def test_the_c_program(tmp_path: Path) -> None:
    source = tmp_path / "main.c"
    (text,) = blocks("c")
    source.write_text(text)
    build_and_run(source, [os.environ.get("CC", "cc")])


def test_the_program_of_the_header(tmp_path: Path) -> None:
    source = tmp_path / "main.c"
    source.write_text(of_the_header())
    cc = os.environ.get("CC", "cc")
    assert build_and_run(source, [cc, "-std=c99"]) == "921600 bytes without the padding\n"


def test_the_cpp_program(tmp_path: Path) -> None:
    source = tmp_path / "main.cpp"
    (text,) = blocks("cpp")
    source.write_text(text)
    cxx = os.environ.get("CXX", "c++")
    assert build_and_run(source, [cxx, "-std=c++11"]) == "2 in 640 elements\n"


@pytest.mark.parametrize("program", blocks("python"), ids=lambda program: str(len(program)))
def test_the_python_programs(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True)


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text()
        for link in re.findall(r"\]\(([^)#\s]*)(?:#[^)\s]*)?\)", text):
            if link and not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_anchors_are_headings() -> None:
    pages = {path.name: path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}

    def anchors(text: str) -> set[str]:
        found: dict[str, int] = {}
        for heading in re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M):
            name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            found[name] = found.get(name, -1) + 1
            if found[name]:
                found[f"{name}-{found[name]}"] = 0
        return set(found)

    for name, text in pages.items():
        for page, anchor in re.findall(r"\]\((?:[./\w]*?([\w-]+\.md))?#([^)\s]+)\)", text):
            assert anchor in anchors(pages[page or name]), f"{name} links to {page}#{anchor}"
