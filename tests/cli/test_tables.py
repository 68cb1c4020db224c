"""Tables on terminals and elsewhere: what fits, what is left out, what is folded, and when there are colours."""

import json
import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from app.adapters.ledger.migration import migrate
from app.cli.tables import Format, rendered
from tests.adapters.ledger.older import old_ledger
from tests.cli.test_keys import run
from tests.stubs.terminal import Ended, on_terminal

LONG = "a-very-long-name-of-a-team-in-the-office-at-the-other-end"
LISTINGS = ("usage", "usage --by key", "keys list", "keys show alice", "ledger unknown", "audit", "ledger check")

each_listing = pytest.mark.parametrize("line", LISTINGS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with rows in every state, and a caller with a long name and budgets."""
    folder = tmp_path_factory.mktemp("ledger")
    migrate(old_ledger(folder / "ledger.db", 1))
    made = run(folder, "keys", "create", LONG, "--budget", "50usd/month", "--budget", "600min/day", "--rpm", "60")
    assert made.exit_code == 0, made.stderr
    return folder


def shown(folder: Path, line: str, columns: int, **environment: str) -> Ended:
    path = str(folder / "ledger.db")
    ended = on_terminal(line.split(), {"AUDIO_GATEWAY_LEDGER__PATH": path, **environment}, columns)
    assert (ended.status, ended.errors) == (0, "")
    return ended


@each_listing
def test_a_table_fits_the_terminal(folder: Path, line: str) -> None:
    lines = shown(folder, line, 80, NO_COLOR="1").output.splitlines()
    assert len(lines) > 3
    assert max(map(cell_len, lines)) <= 80


@pytest.mark.parametrize("line", ["usage", "keys list"])
def test_what_is_piped_has_every_column_and_no_broken_line(folder: Path, line: str) -> None:
    piped = run(folder, *line.split()).stdout
    wide = shown(folder, line, 500, NO_COLOR="1").output
    assert piped == wide
    assert "left out" not in piped
    assert "\x1b" not in piped


def test_numbers_times_and_ids_are_whole_at_eighty_columns(folder: Path) -> None:
    (caller,) = json.loads(run(folder, "keys", "show", LONG, "--format", "json").stdout)
    (key,) = caller["keys"]
    shown_keys = shown(folder, "keys list", 80).output
    assert f"...{key['last4']}" in shown_keys
    assert "left out for want of room: id" in shown_keys
    assert "2026-11-24 12:00" in shown(folder, "ledger unknown", 80).output
    assert re.search(r"\balice\b.* 177 .* 0\.0000195\n", shown(folder, "usage", 80).output)


def test_columns_are_left_out_in_their_order_and_named(folder: Path) -> None:
    narrow, wider = (shown(folder, "usage", columns, NO_COLOR="1").output for columns in (70, 90))
    named = "left out for want of room: "
    assert f"{named}text, audio, output, input" in narrow
    assert f"{named}text, audio\n" in wider or f"{named}text\n" in wider
    assert all(" cost USD" in text for text in (narrow, wider))


def test_a_long_name_is_folded_within_its_column(folder: Path) -> None:
    told = shown(folder, "keys list", 80, NO_COLOR="1").output.splitlines()
    first = next(number for number, line in enumerate(told) if line.startswith("a-very"))
    width = told[0].index("origin")
    pieces = [line[:width].strip() for line in told[first : first + 5]]
    assert "".join(pieces).startswith(LONG)


def test_a_terminal_that_is_too_narrow_for_anything_breaks_no_number(folder: Path) -> None:
    assert " 0.0000195" in shown(folder, "usage", 20, NO_COLOR="1").output


def test_colours_are_for_terminals_alone(folder: Path) -> None:
    line = "keys list"
    coloured = shown(folder, line, 200).output
    assert "\x1b[31mrevoked" in coloured
    assert "\x1b[32mgood" in coloured
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in shown(folder, line, 200, **environment).output
    assert "\x1b" not in run(folder, *line.split()).stdout


@pytest.mark.parametrize("line", [*LISTINGS, "usage --by tag"])
def test_every_listing_is_there_as_json(folder: Path, line: str) -> None:
    told = json.loads(run(folder, *line.split(), "--format", "json").stdout)
    assert isinstance(told, list)
    assert all(isinstance(each, dict) for each in told)
    assert len({tuple(each) for each in told}) == 1


def test_nothing_is_none_and_rows_of_markup_are_text() -> None:
    assert rendered([{"a": None, "b": "[red]x[/red]"}], Format.TABLE).splitlines()[-1].split() == ["[red]x[/red]"]
    assert rendered([], Format.TABLE) == "nothing yet\n"
    assert rendered([], Format.CSV) == ""
