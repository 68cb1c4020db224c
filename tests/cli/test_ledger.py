"""`audio-gateway ledger resolve`: only what a provider can have billed."""

import asyncio
import os
import re
from contextlib import closing
from pathlib import Path

import pytest

from app.adapters.sqlite import Database
from app.gateway.ledger_rows import State
from tests.adapters.sqlite.entries import hold, record, rows, writing
from tests.cli.test_keys import run


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with one unknown row, req_1."""
    database = Database(tmp_path / "ledger.db")

    async def scenario() -> None:
        async with writing(database) as writer:
            await record(writer, hold(id="req_1"), State.UNKNOWN)

    asyncio.run(scenario())
    return database.path


@pytest.mark.parametrize(
    "billed",
    ["--cost=-1", "--cost=NaN", "--cost=Infinity", "--cost=1e30", "--cost=much", "--seconds=-1", "--seconds=nan"],
)
def test_what_nobody_can_have_billed_is_refused(ledger: Path, billed: str) -> None:
    before = rows(ledger, "SELECT * FROM requests")
    done = run(ledger.parent, "ledger", "resolve", "req_1", billed)
    assert (done.exit_code, done.stdout) == (2, "")
    assert re.search(r"is no number of dollars|invalid value for '--seconds'", done.stderr)
    assert rows(ledger, "SELECT * FROM requests") == before
    assert rows(ledger, "SELECT * FROM audit") == []


@pytest.mark.parametrize(
    ("billed", "state", "cost", "audio"),
    [
        (["--release"], "released", 0, 0),
        (["--cost", "0"], "settled", 0, 2_000),
        (["--cost", "0.0000000001"], "settled", 1, 2_000),
        (["--cost", "1.5"], "settled", 1_500_000_000, 2_000),
        (["--seconds", "0"], "settled", 0, 0),
        (["--seconds", "31.5"], "settled", 3_150_000, 31_500),
    ],
)
def test_a_row_is_closed_with_what_was_billed(
    ledger: Path, billed: list[str], state: str, cost: int, audio: int
) -> None:
    done = run(ledger.parent, "ledger", "resolve", "req_1", *billed)
    assert done.exit_code == 0, done.stderr
    (row,) = rows(ledger, "SELECT * FROM requests")
    assert (row["state"], row["cost_nano_usd"], row["audio_ms"]) == (state, cost, audio)
    assert len(rows(ledger, "SELECT * FROM audit WHERE action = 'resolve' AND subject = 'req_1'")) == 1


def test_a_damaged_page_is_told_in_one_line(ledger: Path) -> None:
    with closing(Database(ledger).connect()) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'daily'").get
    with ledger.open("r+b") as file:
        file.seek(4096 * (root - 1))
        file.write(os.urandom(4096))
    done = run(ledger.parent, "usage")
    assert (done.exit_code, done.stdout) == (1, "")
    assert re.fullmatch(r"audio-gateway: ledger .*ledger\.db: the database is damaged; restore a backup\n", done.stderr)
