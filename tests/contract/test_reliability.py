"""The reliability page and the threat model name existing rows of the catalogue, and the settings' real defaults."""

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
    """Yields the rows that a text names. A range such as `A1 to A4` names the rows of the catalogue in it."""
    for letter, first, last in _RANGE.findall(text):
        yield from (row for row in ROWS if row[0] == letter and int(first) <= int(row[1:]) <= int(last))
    yield from (letter + number for letter, number in re.findall(_ROW, text))


@pytest.mark.parametrize("document", [RELIABILITY, THREATS], ids=lambda path: path.name)
def test_every_named_row_is_in_the_catalogue(document: Path) -> None:
    assert set(rows_of(document.read_text("utf-8"))) - set(ROWS) == set()


def test_the_reliability_page_names_every_row() -> None:
    assert set(ROWS) - set(rows_of(RELIABILITY.read_text("utf-8"))) == set()


def test_the_sections_match_the_catalogue() -> None:
    sections = re.findall(r"^## ([A-Z])\. ", RELIABILITY.read_text("utf-8"), re.MULTILINE)
    assert sections == sorted({row[0] for row in ROWS})


def limits() -> list[tuple[str, str, str]]:
    """Returns the section, name and default of each setting in the table of deadlines and limits."""
    table = RELIABILITY.read_text("utf-8").partition("## Deadlines and limits")[2].partition("\n## ")[0]
    return [
        (section, name, documented)
        for name, section, documented in re.findall(r"\| `(\w+)` of `\[(\w+)\]` \| ([^|]+) \|", table)
    ]


@pytest.mark.parametrize(("section", "name", "documented"), limits())
def test_each_documented_default_is_correct(section: str, name: str, documented: str) -> None:
    number, _, unit = documented.replace(",", "").partition(" ")
    assert getattr(getattr(Config(), section), name) == float(number) * _UNITS[unit]


def test_every_timeout_is_documented() -> None:
    documented = {name for section, name, _ in limits() if section == "timeouts"}
    assert documented == set(type(Config().timeouts).model_fields) - {"keep_alive"}
