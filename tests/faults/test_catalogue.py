"""Each row of the catalogue has a case, and each case that names a row names one of the catalogue."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.catalogue import ROWS

HERE = Path(__file__).parent
_IN_NAME = re.compile(r"::test_((?:[A-P]\d+_)+)")
_IN_PARAMETER = re.compile(r"[\[-]([A-P]\d+)(?=[-\]])")


def rows_of(case: str) -> set[str]:
    """The rows that the node id of a case names, in its function or its parameters."""
    names = [row for found in _IN_NAME.findall(case) for row in found.rstrip("_").split("_")]
    return {*names, *_IN_PARAMETER.findall(case)}


@pytest.fixture(scope="module")
def rows_with_a_case() -> set[str]:
    """The rows of all cases, collected in a separate process because this run may select only some."""
    plugins = ["--disable-plugin-autoload", "-p", "pytest_timeout", "-p", "no:cacheprovider"]
    options = ["--collect-only", "-q", *plugins, f"--ignore={__file__}"]
    command = [sys.executable, "-m", "pytest", *options, str(HERE)]
    collected = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parents[1], check=False)
    assert collected.returncode in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED), (
        collected.stdout + collected.stderr
    )
    return {row for line in collected.stdout.splitlines() for row in rows_of(line)}


def test_every_row_has_a_case(rows_with_a_case: set[str]) -> None:
    assert set(ROWS) - rows_with_a_case == set()


def test_every_case_names_a_known_row(rows_with_a_case: set[str]) -> None:
    assert rows_with_a_case - set(ROWS) == set()


@pytest.mark.parametrize(
    ("case", "rows"),
    [
        ("test_framing.py::test_A6_trailers_change_nothing", {"A6"}),
        ("test_framing.py::test_A2_A3_more", {"A2", "A3"}),
        ("test_framing.py::test_a_bad_head[A2-equal-duplicates]", {"A2"}),
        ("test_framing.py::test_A7_a_bad_head[E80-M4A]", {"A7", "E80"}),
        ("test_framing.py::test_a_bad_head[model first-E80-cut]", {"E80"}),
        ("test_framing.py::test_a_bad_head[A2]", {"A2"}),
        ("test_files.py::test_mp3_is_told[mp3-M4A-C4x]", set()),
    ],
)
def test_how_a_case_names_its_rows(case: str, rows: set[str]) -> None:
    assert rows_of(case) == rows
