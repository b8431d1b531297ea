"""`python -m dlbridge bench`: what it prints, and what it refuses before it times anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dlbridge", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_table_names_each_call_and_says_what_the_ratio_is() -> None:
    done = bench("--sizes", "7", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    for call in ("to_torch(a)", "to_numpy(t)", "to_torch(a, copy=True)", 'to_torch(a, dtype="float16")'):
        assert f"  {call}\n" in done.stdout
    assert "ratio: time of today's idiom / time of dlbridge; above 1 dlbridge is faster" in done.stdout


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--rounds", "0", "'0' is no whole number of 1 or more"),
        ("--rounds", "many", "'many' is no whole number of 1 or more"),
        ("--sizes", "-3", "'-3' is no whole number of 1 or more"),
        ("--plot", "no/such/folder/x.png", "there is no folder 'no/such/folder'"),
        ("--plot", "x.txt", "'x.txt' ends in none of .png, .svg, .pdf"),
        ("--plot", ".", "'.' cannot be written"),
    ],
)
def test_what_cannot_be_is_refused_up_front(option: str, value: str, words: str) -> None:
    done = bench(option, value)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert words in done.stderr


def test_a_plot_needs_matplotlib_or_says_so(tmp_path: Path) -> None:
    picture = tmp_path / "table.png"
    done = bench("--sizes", "7", "--rounds", "1", "--plot", str(picture))
    assert "Traceback" not in done.stderr
    assert picture.exists() == (done.returncode == 0)
    assert done.returncode == 0 or "matplotlib is not installed; run pip install matplotlib" in done.stderr
