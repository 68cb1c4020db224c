"""Tables on terminals and in pipes: width, optional columns, wrapping, colours; JSON and CSV."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from app.adapters.sqlite.migration import migrate
from app.cli.tables import Format, render
from tests.adapters.sqlite.older import old_ledger
from tests.cli.test_keys import run
from tests.stubs.terminal import CommandResult, on_terminal

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


def shown(folder: Path, line: str, columns: int, **environment: str) -> CommandResult:
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
def test_a_pipe_gets_every_column_and_no_wrapped_line(folder: Path, line: str) -> None:
    piped = run(folder, *line.split()).stdout
    wide = shown(folder, line, 500, NO_COLOR="1").output
    assert piped == wide
    assert "left out" not in piped
    assert "\x1b" not in piped


def test_numbers_times_and_ids_are_not_wrapped_at_eighty_columns(folder: Path) -> None:
    (caller,) = json.loads(run(folder, "keys", "show", LONG, "--format", "json").stdout)
    (key,) = caller["keys"]
    shown_keys = shown(folder, "keys list", 80).output
    assert f"...{key['last4']}" in shown_keys
    assert "2026-11-24 12:00" in shown(folder, "ledger unknown", 80).output
    assert re.search(r"\balice\b.* 177 .* 0\.000020\n", shown(folder, "usage", 80).output)


def test_a_narrow_table_leaves_out_optional_columns_in_order_and_names_them(folder: Path) -> None:
    narrow, wider = (shown(folder, "usage --by model", columns, NO_COLOR="1").output for columns in (70, 100))
    note = "not shown for lack of room: "
    assert f"{note}text in, audio in, tokens out, tokens in" in narrow
    assert f"{note}text in, audio in\n" in wider or f"{note}text in\n" in wider
    assert all(" cost USD" in text for text in (narrow, wider))


def test_the_key_list_at_eighty_columns_keeps_key_state_and_budget(tmp_path: Path) -> None:
    for number in range(3):
        run(tmp_path, "keys", "create", f"search-team-{number}", "--budget", "50usd/month", "--expires", "90d")
    head, *_, last = shown(tmp_path, "keys list", 80, NO_COLOR="1").output.splitlines()
    assert last.endswith(": origin, id")
    assert [name for name in ("key", "state", "budget left") if name not in head] == []


@each_listing
@pytest.mark.parametrize("columns", [40, 60, 80])
def test_no_word_is_broken(folder: Path, line: str, columns: int) -> None:
    """Each word of a narrow listing is a word of the wide one."""
    words = set(shown(folder, line, 500, NO_COLOR="1").output.split())
    narrow = shown(folder, line, columns, NO_COLOR="1").output
    rules = {word for word in narrow.split() if set(word) == {"\u2500"}}
    notes = set(re.findall(r"^not shown.*$", narrow, re.MULTILINE))
    assert {word for word in narrow.split() if word not in rules} - words - {
        word for note in notes for word in note.split()
    } == set()


def test_a_table_that_does_not_fit_becomes_a_block_per_row(folder: Path) -> None:
    output = shown(folder, "keys list", 40, NO_COLOR="1").output
    blocks = [block.splitlines() for block in output.rstrip("\n").split("\n\n")]
    assert len({len(block[0].split()[0]) for block in blocks}) == 1
    assert next(block[0].split() for block in blocks) == ["caller", LONG]


def test_totals_are_below_a_rule(folder: Path) -> None:
    *_, rule, total = run(folder, "usage", "--by", "key").stdout.splitlines()
    assert set(rule) == {"\u2500"}
    groups = json.loads(run(folder, "usage", "--by", "key", "--format", "json").stdout)
    assert total.split()[:2] == ["total", str(sum(group["requests"] for group in groups))]
    assert "total" not in {group["key"] for group in groups}
    assert "total" not in run(folder, "usage", "--by", "tag").stdout  # a request can have several tags


def test_amounts_of_money_are_aligned(folder: Path) -> None:
    text = run(folder, "usage", "--by", "day").stdout
    ends = {len(line) for line in text.splitlines() if re.search(r"\d\.\d{6}$", line)}
    assert len(ends) == 1


def test_the_audit_prints_changes_as_text(folder: Path) -> None:
    run(folder, "keys", "create", "worded", "--rpm", "5", "--tag", "team=search")
    run(folder, "keys", "update", "worded", "--rpm", "6", "--unlimited", "tags")
    run(folder, "keys", "rotate", "worded")
    run(folder, "keys", "revoke", "worded")
    output = shown(folder, "audit --limit 4", 80, NO_COLOR="1").output
    assert re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "T", re.sub(r"\(cli.*\)", "(A)", output)) == (
        "T  revoke  worded  (A)\n                  2 keys\n"
        "T  rotate  worded  (A)\n                  the old keys expire T UTC\n"
        "T  update  worded  (A)\n                  rpm 5 -> 6; tags team search -> none\n"
        "T  create  worded  (A)\n                  rpm 5; tags team search\n"
    )


def test_only_a_terminal_gets_colours(folder: Path) -> None:
    line = "keys list"
    coloured = shown(folder, line, 200).output
    assert "\x1b[31mrevoked" in coloured
    assert "\x1b[32mgood" in coloured
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in shown(folder, line, 200, **environment).output
    assert "\x1b" not in run(folder, *line.split()).stdout


@pytest.mark.parametrize("line", [*LISTINGS, "usage --by tag"])
def test_every_listing_has_a_json_form(folder: Path, line: str) -> None:
    rows = json.loads(run(folder, *line.split(), "--format", "json").stdout)
    assert isinstance(rows, list)
    assert all(isinstance(row, dict) for row in rows)
    assert len({tuple(row) for row in rows}) == 1


def test_none_is_empty_and_markup_is_text() -> None:
    assert render([{"a": None, "b": "[red]x[/red]"}], Format.TABLE).splitlines()[-1].split() == ["[red]x[/red]"]
    assert render([], Format.TABLE) == "nothing yet\n"
    assert render([], Format.TABLE, empty="no callers yet") == "no callers yet\n"
    assert render([], Format.CSV) == ""


REPRS = re.compile(r"None|True|False|\['|\{'|\('|datetime|<\w+")
EPOCH = re.compile(r"\b1[5-9]\d{8,11}\b")


@pytest.mark.parametrize("format", ["csv", "json"])
@pytest.mark.parametrize("line", [*LISTINGS, "usage export", "usage --by day"])
def test_json_and_csv_have_iso_times_and_no_python_literals(folder: Path, line: str, format: str) -> None:
    json_lines = line == "usage export" and format == "json"
    done = run(folder, *line.split(), "--format", "jsonl" if json_lines else format)
    assert done.exit_code == 0, done.stderr
    assert not REPRS.search(done.stdout)
    assert not EPOCH.search(done.stdout)
    if format == "csv":
        (head, *rows) = csv.reader(io.StringIO(done.stdout))
        assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in head)
        found = [dict(zip(head, row, strict=True)) for row in rows]
    else:
        found = list(map(json.loads, done.stdout.splitlines())) if json_lines else json.loads(done.stdout)
    assert found
    for row in found:
        assert not {"name", "who", "when", "what", "admitted", "created"} & set(row)
        times = [value for name, value in row.items() if name == "at" or name.endswith("_at")]
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time) for time in times if time)
        tags = row.get("tags")
        assert tags is None or isinstance(tags if format != "csv" else json.loads(tags), dict)
