"""docs/interop.md says what happens: the cells are run again and compared with it."""

from __future__ import annotations

import os
from pathlib import Path

import cells
import pytest
import table

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "interop.md"
PACKAGES = ["", *cells.MODULES] if os.environ.get("DLBRIDGE_INTEROP") == "all" else cells.LIGHT

# What dlbridge answers for, whatever the framework does.
OURS = ("UNCLEAR", "LEAKS", "OWNER FREED")


@pytest.fixture(scope="module")
def results() -> dict[cells.Key, str]:
    return cells.run(PACKAGES)


@pytest.fixture(scope="module")
def documented() -> dict[cells.Key, str]:
    return table.parse(DOCUMENT.read_text())


def test_the_document_tells_what_happens(results: dict[cells.Key, str], documented: dict[cells.Key, str]) -> None:
    there = {key: result for key, result in table.comparable(results).items() if "UNAVAILABLE" not in result}
    written = {key: documented.get(key) for key in there}
    assert there == written, "run `make interop-docs` and read the difference before it is committed"


def test_no_cell_leaks_or_loses_its_owner(results: dict[cells.Key, str], documented: dict[cells.Key, str]) -> None:
    everything = [*results.items(), *documented.items()]
    assert [cell for cell in everything if any(words in cell[1] for words in OURS)] == []


def test_the_document_can_be_read_back(results: dict[cells.Key, str]) -> None:
    assert table.parse(table.render(results)) == table.comparable(results)


def test_every_cell_has_its_place() -> None:
    places = {
        (name, row, column)
        for name in table.SECTIONS
        for row in table.layout(name)[0]
        for column in table.layout(name)[1]
    }
    keys = [key for package in ["", *cells.MODULES] for key, _ in cells.cells_of(package)]
    assert len(keys) == len(set(keys))
    assert set(keys) <= places
