"""`audio-gateway ledger resolve` accepts only what a provider can have billed."""

import asyncio
import re
from pathlib import Path

import pytest

from app.adapters.sqlite import Database
from app.gateway.ledger_rows import State
from tests.adapters.sqlite.entries import hold, record, rows, writing
from tests.cli.test_keys import run


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with one unknown request, req_1."""
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
def test_an_impossible_bill_is_refused(ledger: Path, billed: str) -> None:
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
def test_a_request_is_settled_with_its_bill(ledger: Path, billed: list[str], state: str, cost: int, audio: int) -> None:
    done = run(ledger.parent, "ledger", "resolve", "req_1", *billed)
    assert done.exit_code == 0, done.stderr
    (row,) = rows(ledger, "SELECT * FROM requests")
    assert (row["state"], row["cost_nano_usd"], row["audio_ms"]) == (state, cost, audio)
    assert len(rows(ledger, "SELECT * FROM audit WHERE action = 'resolve' AND subject = 'req_1'")) == 1
