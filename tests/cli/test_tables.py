"""Tables on terminals and elsewhere: what fits, what is left out, what is folded, and when there are colours."""

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
    assert "2026-11-24 12:00" in shown(folder, "ledger unknown", 80).output
    assert re.search(r"\balice\b.* 177 .* 0\.000020\n", shown(folder, "usage", 80).output)


def test_columns_are_left_out_in_their_order_and_named(folder: Path) -> None:
    narrow, wider = (shown(folder, "usage --by model", columns, NO_COLOR="1").output for columns in (70, 100))
    named = "not shown for lack of room: "
    assert f"{named}text in, audio in, tokens out, tokens in" in narrow
    assert f"{named}text in, audio in\n" in wider or f"{named}text in\n" in wider
    assert all(" cost USD" in text for text in (narrow, wider))


def test_where_a_caller_is_kept_is_the_first_to_go(tmp_path: Path) -> None:
    """What matters of a key at 80 columns: whose, which, whether it works, and what is left of the budgets."""
    for number in range(3):
        run(tmp_path, "keys", "create", f"search-team-{number}", "--budget", "50usd/month", "--expires", "90d")
    head, *_, last = shown(tmp_path, "keys list", 80, NO_COLOR="1").output.splitlines()
    assert last == "not shown for lack of room: origin, id"
    assert [name for name in ("key", "state", "budget left") if name not in head] == []


@each_listing
@pytest.mark.parametrize("columns", [40, 60, 80])
def test_no_word_is_broken_over_lines(folder: Path, line: str, columns: int) -> None:
    """Each word of a narrow listing is one of the listing without an end."""
    words = set(shown(folder, line, 500, NO_COLOR="1").output.split())
    narrow = shown(folder, line, columns, NO_COLOR="1").output
    rules = {word for word in narrow.split() if set(word) == {"\u2500"}}
    notes = set(re.findall(r"^not shown.*$", narrow, re.MULTILINE))
    assert {word for word in narrow.split() if word not in rules} - words - {
        word for note in notes for word in note.split()
    } == set()


def test_what_has_no_room_as_a_table_is_a_block_for_each_row(folder: Path) -> None:
    told = shown(folder, "keys list", 40, NO_COLOR="1").output
    blocks = [block.splitlines() for block in told.rstrip("\n").split("\n\n")]
    assert len({len(block[0].split()[0]) for block in blocks}) == 1
    assert next(block[0].split() for block in blocks) == ["caller", LONG]


def test_sums_have_a_total_below_a_rule(folder: Path) -> None:
    *_, rule, total = run(folder, "usage", "--by", "key").stdout.splitlines()
    assert set(rule) == {"\u2500"}
    lines = json.loads(run(folder, "usage", "--by", "key", "--format", "json").stdout)
    assert total.split()[:2] == ["total", str(sum(each["requests"] for each in lines))]
    assert "total" not in {each["key"] for each in lines}
    assert "total" not in run(folder, "usage", "--by", "tag").stdout  # a request may have several


def test_money_is_aligned_at_its_point(folder: Path) -> None:
    text = run(folder, "usage", "--by", "day").stdout
    ends = {len(line) for line in text.splitlines() if re.search(r"\d\.\d{6}$", line)}
    assert len(ends) == 1


def test_the_audit_is_in_words(folder: Path) -> None:
    run(folder, "keys", "create", "worded", "--rpm", "5", "--tag", "team=search")
    run(folder, "keys", "update", "worded", "--rpm", "6", "--unlimited", "tags")
    run(folder, "keys", "rotate", "worded")
    run(folder, "keys", "revoke", "worded")
    told = shown(folder, "audit --limit 4", 80, NO_COLOR="1").output
    assert re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "T", re.sub(r"\(cli.*\)", "(A)", told)) == (
        "T  revoke  worded  (A)\n                  2 keys\n"
        "T  rotate  worded  (A)\n                  the old keys end T UTC\n"
        "T  update  worded  (A)\n                  rpm 5 -> 6; tags team search -> none\n"
        "T  create  worded  (A)\n                  rpm 5; tags team search\n"
    )


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
    assert render([{"a": None, "b": "[red]x[/red]"}], Format.TABLE).splitlines()[-1].split() == ["[red]x[/red]"]
    assert render([], Format.TABLE) == "nothing yet\n"
    assert render([], Format.TABLE, empty="no callers yet") == "no callers yet\n"
    assert render([], Format.CSV) == ""


REPRS = re.compile(r"None|True|False|\['|\{'|\('|datetime|<\w+")
EPOCH = re.compile(r"\b1[5-9]\d{8,11}\b")


@pytest.mark.parametrize("format", ["csv", "json"])
@pytest.mark.parametrize("line", [*LISTINGS, "usage export", "usage --by day"])
def test_programs_get_one_name_and_one_form_of_time(folder: Path, line: str, format: str) -> None:
    lines = line == "usage export" and format == "json"
    done = run(folder, *line.split(), "--format", "jsonl" if lines else format)
    assert done.exit_code == 0, done.stderr
    assert not REPRS.search(done.stdout)
    assert not EPOCH.search(done.stdout)
    if format == "csv":
        (head, *rows) = csv.reader(io.StringIO(done.stdout))
        assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in head)
        found = [dict(zip(head, row, strict=True)) for row in rows]
    else:
        found = list(map(json.loads, done.stdout.splitlines())) if lines else json.loads(done.stdout)
    assert found
    for row in found:
        assert not {"name", "who", "when", "what", "admitted", "created"} & set(row)
        times = [value for name, value in row.items() if name == "at" or name.endswith("_at")]
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", each) for each in times if each)
        tags = row.get("tags")
        assert tags is None or isinstance(tags if format != "csv" else json.loads(tags), dict)
