"""The matrix as Markdown, and back. `python table.py docs/interop.md` runs every cell and writes it."""

from __future__ import annotations

import platform
import re
import sys
import textwrap
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import cells
from awkward import AWKWARD
from cells import Key
from consumers import CONSUMERS
from producers import HEAD, PRODUCERS
from samples import CASES, FORMS

INTRODUCTION = """\
# Interoperability

Made by `make interop-docs`, compared with a new run by `make test-interop`, and for the frameworks in `.venv` by
`make interop`. Each cell is a run: **same pointer** means that the addresses are equal *and* that what one side
writes the other reads, and that the memory outlives the object it came from. After each cell dlbridge holds as many
tensors and exports as before. Each framework runs in a process of its own, so that one that aborts is a cell.

What is in capitals is the framework's doing, and worth knowing before you hand anything over. The numbers lead to
the words at the end.

{versions}
"""

# By the name of the table: the title, and what to know to read it.
SECTIONS = {
    "in": (
        "## In: `dlbridge.from_dlpack(x)`",
        """\
*NOT FLAGGED read-only*: the framework promises its users values that never change, and its DLPack capsule does not
say so; nothing stops a consumer from writing. *FREED TOO EARLY*: the producer's capsule does not keep the memory
alive; keep the producer. *ABORTS*: the producer's own `__dlpack__` ends the process.""",
    ),
    "awkward": ("## In: what is no plain memory", "An answer is the tensor that came in, or why none did."),
    "forms": (
        "## Out: three ways of giving the same memory",
        """\
float32, contiguous, aligned to 64 bytes, writable; given as a `dlbridge.Tensor` and as what `to_numpy` and
`to_torch` make of it.

Pillow asks for `__array_interface__`, then for the buffer protocol. A `dlbridge.Tensor` offers neither: NumPy would
ask for them before `__array__`, and they can say neither bfloat16 nor a device. Write
`Image.fromarray(t.numpy())`.""",
    ),
    "out": (
        "## Out: odd tensors",
        """\
Given as a `dlbridge.Tensor`, or where the consumer takes arrays of NumPy only (those marked \\*), as what
`to_numpy` makes of it. *refuses to write* honours read-only; *IGNORES READ-ONLY* wrote into
read-only memory.""",
    ),
}


def layout(table: str) -> tuple[list[str], list[str]]:
    """The rows and the columns of a table."""
    consumers = [consumer.name for consumer in CONSUMERS]
    return {
        "in": ([producer.name for producer in PRODUCERS], HEAD),
        "awkward": ([name for name, _, _ in AWKWARD], ["from_dlpack"]),
        "forms": (consumers, list(FORMS)),
        "out": (consumers, list(CASES)),
    }[table]


def render(results: dict[Key, str]) -> str:
    notes: dict[str, int] = {}
    parts = [INTRODUCTION.format(versions=_versions())]
    for table, (title, words) in SECTIONS.items():
        parts += [title, "", words, "", *_table(table, results, notes), ""]
    parts += ["## The words", "", *(f"{number}. {words}" for words, number in notes.items())]
    return "\n".join(parts) + "\n"


def _table(table: str, results: dict[Key, str], notes: dict[str, int]) -> Iterable[str]:
    rows, columns = layout(table)
    yield "| | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for row in rows:
        cells_of_row = [_short(results.get((table, row, column)), notes) for column in columns]
        yield f"| {row}{_mark(table, row)} | " + " | ".join(cells_of_row) + " |"


def _mark(table: str, row: str) -> str:
    given_arrays = {consumer.name for consumer in CONSUMERS if consumer.given == "to_numpy(Tensor)"}
    return " \\*" if table == "out" and row in given_arrays else ""


def _short(result: str | None, notes: dict[str, int]) -> str:
    """A cell: its first words, and a number for the rest."""
    if result is None:
        return ""
    kind, colon, words = result.partition(": ")
    return f"{kind} [{notes.setdefault(words, len(notes) + 1)}]" if colon else kind


def parse(text: str) -> dict[Key, str]:
    """The cells of a rendered matrix; of those with a note, the kind and the class of the error."""
    notes = {number: _kind(words) for number, words in re.findall(r"^(\d+)\. (.*)$", text, re.MULTILINE)}
    found: dict[Key, str] = {}
    for table, (title, _) in SECTIONS.items():
        section = text.split(title)[1].split("\n## ")[0]
        lines = [line.strip("| ").split("|") for line in section.splitlines() if line.startswith("|")]
        columns = layout(table)[1]
        for name, *values in lines[2:]:
            for column, value in zip(columns, values):
                if value.strip():
                    found[table, name.strip(" \\*"), column] = _resolve(value.strip(), notes)
    return found


def _resolve(cell: str, notes: dict[str, str]) -> str:
    numbered = re.fullmatch(r"(.*) \[(\d+)\]", cell)
    return f"{numbered[1]}: {notes[numbered[2]]}" if numbered else cell


def _kind(words: str) -> str:
    """The class of an error: frameworks and we may word it otherwise tomorrow."""
    return words.split(":")[0]


def comparable(results: dict[Key, str]) -> dict[Key, str]:
    """Results as `parse` gives them back."""
    return {key: ": ".join(result.split(": ")[:2]) for key, result in results.items()}


def _versions() -> str:
    packages = [package for package in cells.MODULES if _version(package)]
    python = f"CPython {platform.python_version()}, DLPack 1.3"
    return textwrap.fill(
        ", ".join([python, *(f"{package} {_version(package)}" for package in packages)]),
        118,
        break_on_hyphens=False,
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(cells.run(["", *cells.MODULES])))
