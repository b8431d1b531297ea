"""The ABI is held: what frozen.c describes is what the headers say and what the library exports."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import freeze
import pytest

NAMES = re.compile(r"^FUNCTION\(.*?, (\w+), \(", re.MULTILINE)


def test_nothing_that_was_promised_has_changed() -> None:
    broken = freeze.breaches()
    if broken:
        pytest.fail("\n".join(["The ABI has changed:", *broken, freeze.WHAT_TO_DO]), pytrace=False)


def test_what_is_new_is_described() -> None:
    now, described = freeze.frozen().splitlines(), freeze.FROZEN.read_text().splitlines()
    new = [f"+ {line}" for line in now if line not in described]
    gone = [f"- {line}" for line in described if line not in now]
    if new or gone:
        words = (
            "tests/abi/frozen.c is not what the headers give. Say in CHANGELOG.md what is new and run `make abi`."
        )
        pytest.fail("\n".join([words, *new, *gone]), pytrace=False)


def test_the_library_exports_these_functions_and_no_others() -> None:
    library = freeze.ROOT / "target/release/libdlbridge.so"
    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True
    ).stdout
    exported = {line.split()[-1] for line in symbols.splitlines()}
    described = set(NAMES.findall(freeze.FROZEN.read_text()))
    assert exported == described, (
        f"exported and described differ: {sorted(exported ^ described)}; {freeze.WHAT_TO_DO}"
    )


def test_the_changelog_knows_the_soname() -> None:
    assert freeze.soname() in (freeze.ROOT / "CHANGELOG.md").read_text(), (
        f"the soname is {freeze.soname()} now; say in CHANGELOG.md, with that name, what changed since the last one"
    )


# What is done to a header: what is replaced, by what, and what the compiler then has to name.
CHANGES = {
    "a function is removed": (r"dlb_status dlb_tensor_read_only\([^;]*;", "", "dlb_tensor_read_only"),
    "a function is renamed": (r"\bdlb_live_tensors\(void", "dlb_tensors_alive(void", "dlb_live_tensors"),
    "a parameter has another type": (r"int32_t axis,\s+int64_t start", "int64_t axis, int64_t start", "slice"),
    "a parameter loses its const": (r"const DLTensor \*description", "DLTensor *description", "tensor_wrap"),
    "a parameter is added": (r"dlb_version\(void\)", "dlb_version(int part)", "dlb_version"),
    "two parameters change places": (r"(int legacy),\s+(void \*\*out_capsule)", r"\2, \1", "capsule"),
    "a result has another type": (r"bool dlb_tensor_is", "int dlb_tensor_is", "is_contiguous"),
    "a type is another one": (r"typedef int32_t dlb_status", "typedef int64_t dlb_status", "dlb_status"),
    "a callback has another type": (r"(\*dlb_release_fn\)\(void \*context)", r"\1, int", "dlb_release_fn"),
    "a constant has another value": (r"DLB_ERROR_READ_ONLY 4", "DLB_ERROR_READ_ONLY 40", "READ_ONLY"),
    "a constant is removed": (r"#define DLB_ERROR_CLOSED 11", "", "DLB_ERROR_CLOSED"),
    "a constant has another type": (r"#define DLB_OK 0", "#define DLB_OK 0u", "DLB_OK"),
    "a constant is the same bits": (r"DLB_WAIT_FOREVER UINT64_MAX", "DLB_WAIT_FOREVER (-1)", "WAIT_FOREVER"),
    "a version is removed": (r"#define DLB_VERSION_MAJOR \d+", "", "DLB_VERSION_MAJOR"),
    "the words of a version are removed": (r'#define DLB_VERSION ".*"', "", "DLB_VERSION"),
    "a version has another type": (r'#define DLB_VERSION "(\d).*"', r"#define DLB_VERSION \1", "DLB_VERSION"),
    "an opaque type is another one": (
        r"typedef struct dlb_event dlb_event",
        "typedef struct dlb_stream dlb_event",
        "dlb_event",
    ),
    "an opaque type is none": (r"typedef struct dlb_event dlb_event", "typedef void dlb_event", "dlb_event"),
    "an enumerator has another value": (r"kDLBool = 6U", "kDLBool = 66U", "kDLBool"),
    "a field has another type": (r"(DLDevice device;\s+)int32_t ndim;", r"\1uint32_t ndim;", "ndim"),
    "a field is removed": (r"uint64_t byte_offset;", "", "byte_offset"),
    "a field is added": (r"uint64_t byte_offset;", "uint64_t byte_offset; int more;", "DLTensor"),
    "a field is added in a gap": (r"(int32_t pinned;)", r"\1 int32_t more;", "more"),
    "a struct has another alignment": (
        r"\} DLDataType;",
        "} __attribute__((aligned(4))) DLDataType;",
        "DLDataType",
    ),
    "a struct is packed": (r"\} dlb_pool_stats;", "} __attribute__((packed)) dlb_pool_stats;", "dlb_pool_stats"),
    "a struct that may grow shrinks": (r"uint64_t hits;", "", "dlb_pool_stats"),
    "two fields change places": (r"(uint8_t code;)\s+(uint8_t bits;)", r"\2 \1", "code"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_caught(change: str, tmp_path: Path) -> None:
    old, new, named = CHANGES[change]
    include = shutil.copytree(freeze.INCLUDE, tmp_path / "include")
    times = 0
    for header in include.rglob("*.h"):
        text, here = re.subn(old, new, header.read_text())
        header.write_text(text)
        times += here
    assert times == 1, f"the headers have {times} places like {old}; bring this test up to date"
    assert any(named in each for each in freeze.breaches(include)), f"{change}, and it compiles"


def test_what_is_out_is_not_described_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = freeze.FROZEN.read_text()
    monkeypatch.setattr(freeze, "breaches", lambda: ["dlb_version has another type"])
    monkeypatch.setattr(freeze, "is_out", lambda changelog, soname: True)
    with pytest.raises(SystemExit, match=r"dlb_version has another type\n.*raise the minor version"):
        freeze.main()
    assert freeze.FROZEN.read_text() == before


@pytest.mark.parametrize(
    ("heading", "out"),
    [
        ("## Unreleased: 0.1.0", False),
        ("## Unreleased: 0.1.1", True),
        ("## Unreleased: 0.2.0", True),
        ("## 0.1.0 - 2027-01-01", True),
    ],
)
def test_a_soname_is_out_with_its_first_release(heading: str, out: bool) -> None:
    assert freeze.is_out(f"# Changelog\n\n{heading}\n", "libdlbridge.so.0.1") is out
    assert not freeze.is_out("## Unreleased: 1.0.0\n", "libdlbridge.so.1")
    assert freeze.is_out("## Unreleased: 1.1.0\n", "libdlbridge.so.1")


def test_what_is_only_added_breaks_nothing(tmp_path: Path) -> None:
    include = shutil.copytree(freeze.INCLUDE, tmp_path / "include")
    header = include / "dlbridge.h"
    header.write_text(
        header.read_text().replace("const char *dlb_version", "int dlb_new(void);\nconst char *dlb_version")
    )
    assert freeze.breaches(include) == freeze.breaches()
    assert "FUNCTION(int, dlb_new, (void));" in freeze.frozen(include)
