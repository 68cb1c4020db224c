"""Unknown requests are resolved once, with an audit entry, and the running gateway reads the resolution."""

import asyncio
from collections.abc import Iterator
from contextlib import closing

import apsw
import pytest

from app.adapters.sqlite import Database, LedgerReader, SqliteCallers
from app.adapters.sqlite.maintenance.export import disagreements
from app.adapters.sqlite.maintenance.reconciliation import resolve, unknown_requests
from app.gateway.ledger_rows import State
from app.policy.budget import Amounts, Window, first_day, next_day
from app.services.callers import AuditEntry
from app.services.reconciliation import UnknownRequest
from app.services.usage import Period
from tests.adapters.sqlite.entries import BOUND, NOON_MS, hold, record, rows, writing

ENTRY = AuditEntry(NOON_MS, "cli:root", "resolve", "req_1", {"state": "unknown"}, {"state": "settled"})


@pytest.fixture
def connection(database: Database) -> Iterator[apsw.Connection]:
    async def scenario() -> None:
        async with writing(database) as writer:
            await record(writer, hold(id="req_1"), State.UNKNOWN)
            await record(writer, hold(id="req_2"), State.UNKNOWN)
            await record(writer, hold(id="req_3"))
            await record(writer, hold(id="req_4"), State.RELEASED)

    asyncio.run(scenario())
    with closing(database.connect()) as connection:
        yield connection


def test_unknown_requests_are_listed(connection: apsw.Connection) -> None:
    first, second = unknown_requests(connection)
    assert second.id == "req_2"
    assert first == UnknownRequest("req_1", "alice", "whisper-1", NOON_MS, "upstream_error", BOUND, "up_1")


@pytest.mark.parametrize("charge", [None, Amounts(), Amounts(1, 2, 3), Amounts(9_000, 8_000, 700)], ids=repr)
def test_a_request_is_resolved_once(database: Database, connection: apsw.Connection, charge: Amounts | None) -> None:
    reader = LedgerReader(database)
    row = unknown_requests(connection)[0]
    assert resolve(connection, row, charge, ENTRY)
    assert not resolve(connection, row, Amounts(5, 5, 5), ENTRY)
    closed = rows(database.path, "SELECT * FROM requests WHERE id = 'req_1'")[0]
    now = charge or Amounts()
    assert closed["state"] == ("released" if charge is None else "settled")
    assert (closed["cost_nano_usd"], closed["audio_ms"], closed["charged_tokens"]) == (now.cost, now.audio, now.tokens)
    assert [request.id for request in unknown_requests(connection)] == ["req_2"]
    assert SqliteCallers(connection).audit(10) == [ENTRY]
    assert disagreements(connection, Period()) == []

    (resolution,) = reader.new_resolutions()
    assert (resolution.number, resolution.caller, resolution.admitted_ms) == (1, "alice", NOON_MS)
    assert resolution.change == Amounts(now.cost - BOUND.cost, now.audio - BOUND.audio, now.tokens - BOUND.tokens)
    assert reader.new_resolutions() == []
    reader.close()


def test_a_later_reader_includes_the_resolution(database: Database, connection: apsw.Connection) -> None:
    days = [(first_day(window, NOON_MS), next_day(window, NOON_MS)) for window in Window]
    reader = LedgerReader(database)
    before = reader.spent("alice", days)
    resolve(connection, unknown_requests(connection)[0], None, ENTRY)
    later = LedgerReader(database)
    after = later.spent("alice", days)
    assert (before.resolution, after.resolution) == (0, 1)
    for one, other in zip(before.amounts, after.amounts, strict=True):
        assert one.cost - other.cost == BOUND.cost > 0
    assert later.new_resolutions() == []
    assert [resolution.number for resolution in reader.new_resolutions()] == [1]
    reader.close()
    later.close()


def test_a_resolution_without_an_audit_entry_is_rolled_back(database: Database, connection: apsw.Connection) -> None:
    connection.execute("ALTER TABLE audit RENAME TO lost")
    row = unknown_requests(connection)[0]
    with pytest.raises(apsw.SQLError):
        resolve(connection, row, None, ENTRY)
    assert unknown_requests(connection)[0] == row
    assert rows(database.path, "SELECT * FROM resolutions") == []
