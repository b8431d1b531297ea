"""docs/compatibility.md promises a test for each of its lines: this holds it to that."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"^\| ([parc])(\d+) \|", re.MULTILINE)


def test_every_line_has_a_test() -> None:
    lines = LINE.findall((ROOT / "docs" / "compatibility.md").read_text())
    assert [int(number) for _, number in lines] == list(range(1, 63))
    sources = [path for kind in ("rs", "c", "cpp", "py") for path in (ROOT / "tests").rglob(f"*.{kind}")]
    sources += (ROOT / "src").rglob("*.rs")
    names = re.findall(r"\b[a-z]+_\w+|\b[parc]\d+_\w+", "\n".join(path.read_text() for path in sources))
    tested = {match for name in names for match in re.findall(r"(?:^|_)([parc])0?(\d{1,2})(?=_)", name)}
    missing = [kind + number for kind, number in lines if (kind, number) not in tested]
    assert missing == []
