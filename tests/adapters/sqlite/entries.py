"""What the tests write to a ledger: holds, settlements, and a writer that is open inside a block."""

import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.adapters.sqlite import Database, LedgerWriter
from app.gateway.ledger_rows import Hold, SettlementResult, State
from app.policy.budget import NOTHING, Amounts
from app.units import Tokens, UsageSource
from app.wire import identifier

NOON_MS = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()) * 1000
BOUND = Amounts(cost=3_000, audio=2_000, tokens=70)
CHARGE = Amounts(cost=1_500, audio=1_000, tokens=59)


def hold(**changes: Any) -> Hold:
    """Returns a hold of the caller alice with a new id."""
    row_id = identifier.time_ordered("req_", NOON_MS, secrets.token_bytes(identifier.RANDOM_BYTES))
    made = Hold(
        row_id, "alice", "key_1", "transcribe", "whisper-1", "up", "whisper-1", "wav", NOON_MS, NOON_MS, BOUND, ()
    )
    return made._replace(**changes)


def result(held: Hold, state: State = State.SETTLED, **changes: Any) -> SettlementResult:
    """Returns the settlement result of this hold, `settled` by default."""
    settled = state is State.SETTLED
    made = SettlementResult(
        id=held.id,
        state=state,
        status=200 if settled else 502,
        error=None if settled else "upstream_error",
        bound=held.bound,
        charge={State.SETTLED: CHARGE, State.UNKNOWN: held.bound}.get(state, NOTHING),
        tokens=Tokens(14, 45, 59, 14, 0) if settled else None,
        source={State.SETTLED: UsageSource.UPSTREAM, State.UNKNOWN: UsageSource.ESTIMATED}.get(state),
        file_bytes=16_000,
        response_format="json",
        stream=False,
        upstream_request_id="up_1",
        sent_ms=NOON_MS + 1,
        answered_ms=NOON_MS + 2,
        done_ms=NOON_MS + 3,
    )
    return made._replace(**changes)


@asynccontextmanager
async def writing(database: Database) -> AsyncIterator[LedgerWriter]:
    """Starts a writer on this ledger, and stops it at the end."""
    writer = LedgerWriter(database)
    writer.open()
    writer.start()
    try:
        yield writer
    finally:
        await writer.stop()


async def record(writer: LedgerWriter, held: Hold, state: State = State.SETTLED, **changes: Any) -> Hold:
    """Writes a request from its hold to its settlement."""
    await writer.reserve(held)
    await writer.settle(result(held, state, **changes))
    return held


async def no_body() -> AsyncIterator[bytes]:
    """The body of a request whose body is not read."""
    yield b""


def rows(path: Path, query: str, *values: Any) -> list[dict[str, Any]]:
    """Returns rows as another program reads them."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query, values)]
