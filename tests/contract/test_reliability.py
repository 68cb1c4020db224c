"""What the page on reliability and the threat model say exists: rows of the catalogue, settings with their defaults."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import Config
from tests.contract.tree import ROOT
from tests.faults.catalogue import ROWS

RELIABILITY = ROOT / "docs" / "reliability.md"
THREATS = ROOT / "THREAT_MODEL.md"

_ROW = r"\b([A-P])(\d+)\b"
_RANGE = re.compile(rf"{_ROW} to \1(\d+)\b")
_UNITS = {"s": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "": 1}


def rows_of(text: str) -> Iterator[str]:
    """The rows that a text names, those of `A1 to A4` that the catalogue has among them."""
    for letter, first, last in _RANGE.findall(text):
        yield from (row for row in ROWS if row[0] == letter and int(first) <= int(row[1:]) <= int(last))
    yield from (letter + number for letter, number in re.findall(_ROW, text))


@pytest.mark.parametrize("document", [RELIABILITY, THREATS], ids=lambda path: path.name)
def test_every_row_that_is_named_is_in_the_catalogue(document: Path) -> None:
    assert set(rows_of(document.read_text("utf-8"))) - set(ROWS) == set()


def test_every_row_of_the_catalogue_is_told_of() -> None:
    assert set(ROWS) - set(rows_of(RELIABILITY.read_text("utf-8"))) == set()


def test_the_sections_are_those_of_the_catalogue() -> None:
    sections = re.findall(r"^## ([A-Z])\. ", RELIABILITY.read_text("utf-8"), re.MULTILINE)
    assert sections == sorted({row[0] for row in ROWS})


def limits() -> list[tuple[str, str, str]]:
    """The section, name and default of each setting in the table of deadlines and limits."""
    table = RELIABILITY.read_text("utf-8").partition("## Deadlines and limits")[2].partition("\n## ")[0]
    return [
        (section, name, told) for name, section, told in re.findall(r"\| `(\w+)` of `\[(\w+)\]` \| ([^|]+) \|", table)
    ]


@pytest.mark.parametrize(("section", "name", "told"), limits())
def test_a_default_is_as_told(section: str, name: str, told: str) -> None:
    number, _, unit = told.replace(",", "").partition(" ")
    assert getattr(getattr(Config(), section), name) == float(number) * _UNITS[unit]


def test_every_timeout_is_told_of() -> None:
    told = {name for section, name, _ in limits() if section == "timeouts"}
    assert told == set(type(Config().timeouts).model_fields) - {"keep_alive"}
