"""Pruning removes rows and changes no total: in reports, in budgets, and in the integrity check."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime

import apsw
import pytest

from app.adapters.sqlite import Database, SqliteCallers
from app.adapters.sqlite.maintenance.export import count_rows, disagreements
from app.adapters.sqlite.maintenance.pruning import ROWS_AT_ONCE, prunable, prune
from app.adapters.sqlite.maintenance.reconciliation import resolve, unknown_requests
from app.adapters.sqlite.migration import migrate
from app.adapters.sqlite.usage_reports import budget_statuses, usage_totals
from app.policy.budget import Amounts, Budget
from app.policy.caller_policy import Tags
from app.services.callers import AuditEntry
from app.services.maintenance import Prunable
from app.services.usage import Grouping, Period
from tests.adapters.sqlite.entries import NOON_MS, hold, record, rows, writing
from tests.adapters.sqlite.maintenance.test_export import FILL, MANY
from tests.adapters.sqlite.older import old_ledger

BEFORE = datetime(2025, 10, 1, tzinfo=UTC)
BEFORE_MS = int(BEFORE.timestamp()) * 1000
FIRST_DAY = date(2025, 8, 31)
OLD = Period(FIRST_DAY, date(2025, 9, 30))
ENTRY = AuditEntry(NOON_MS, "cli:root", "prune", "requests before 2025-10-01", {"rows": 10}, None)
BUDGETS = tuple(map(Budget.parse, ("1usd/total", "600min/total", "1000000tokens", "9min/month")))


@pytest.fixture
def connection(database: Database) -> Iterator[apsw.Connection]:
    """A ledger with rows in every state of two days in 2025 and one in 2026."""
    migrate(old_ledger(database.path, 1))
    with closing(database.connect()) as connection:
        yield connection


def reports(connection: apsw.Connection) -> list[object]:
    """Every report that can be asked for, and how every budget stands."""
    tags: tuple[Tags, ...] = ((), (("team", "a"),))
    sums = [
        usage_totals(connection, grouping, period, caller, each)
        for grouping in Grouping
        for period in (Period(), OLD, Period(since=date(2025, 9, 1)), Period(until=FIRST_DAY))
        for caller in (None, "alice", "bob")
        for each in tags
    ]
    stand = [budget_statuses(connection, caller, BUDGETS, NOON_MS) for caller in ("alice", "bob")]
    return [sums, stand, [record.keys for record in SqliteCallers(connection).all()]]


def test_no_report_and_no_budget_changes(connection: apsw.Connection) -> None:
    before = reports(connection)
    assert usage_totals(connection, Grouping.TAG, OLD)[0].requests == 8
    assert prune(connection, BEFORE_MS, ENTRY) == 10
    assert reports(connection) == before
    assert disagreements(connection, Period()) == []
    assert count_rows(connection, OLD) == (7, 10)


def test_held_unknown_and_later_rows_stay(database: Database, connection: apsw.Connection) -> None:
    kept = "SELECT * FROM requests WHERE admitted_ms >= ? OR state IN ('held', 'unknown') ORDER BY id"
    before = rows(database.path, kept, BEFORE_MS)
    prune(connection, BEFORE_MS, ENTRY)
    assert rows(database.path, "SELECT * FROM requests ORDER BY id") == before
    assert {row["state"] for row in before if row["admitted_ms"] < BEFORE_MS} == {"held", "unknown"}


def test_prunable_changes_nothing(connection: apsw.Connection) -> None:
    assert prunable(connection, BEFORE_MS) == Prunable(10, FIRST_DAY, 7)
    assert prunable(connection, 0) == Prunable(0, None, 0)
    assert count_rows(connection, Period()) == (26, 0)


def test_pruning_writes_one_audit_entry(connection: apsw.Connection) -> None:
    prune(connection, BEFORE_MS, ENTRY)
    assert prune(connection, BEFORE_MS, ENTRY) == 0
    assert [entry for entry in SqliteCallers(connection).audit(100) if entry.action == "prune"] == [ENTRY]


def test_a_resolved_row_is_pruned_by_the_next_run(connection: apsw.Connection) -> None:
    prune(connection, BEFORE_MS, ENTRY)
    for row in unknown_requests(connection):
        resolve(connection, row, Amounts(1, 2, 3), ENTRY)
    before = reports(connection)
    assert prune(connection, BEFORE_MS, ENTRY) == 6
    assert reports(connection) == before
    assert disagreements(connection, Period()) == []


def test_a_lost_row_is_found_after_pruning(connection: apsw.Connection) -> None:
    prune(connection, BEFORE_MS, ENTRY)
    connection.execute("DELETE FROM requests WHERE id = 'req_04'")
    group = "alice / 2025-08-31 / key_1 / transcribe / whisper-1"
    assert disagreements(connection, OLD) == [f"the sums of {group} are not those of its rows"]


def test_pruning_uses_small_transactions(database: Database) -> None:
    """Each leaves the lock to a gateway that waits for it, and what it leaves agrees."""
    steps: list[tuple[int, int]] = []

    def told(done: int, total: int) -> None:
        steps.append((done, total))
        if done % 20_000 == 0:
            assert disagreements(other, Period()) == []
            asyncio.run(write())

    async def write() -> None:
        async with writing(database) as writer:
            await record(writer, hold())

    with closing(database.connect()) as connection, closing(database.connect()) as other:
        connection.execute(FILL)
        connection.execute("DELETE FROM requests WHERE id > 'req_00060000'; DELETE FROM daily")
        connection.execute(
            "UPDATE requests SET key_id = key_id; INSERT INTO daily (caller, day, key_id, task, model, "
            "requests, last_ms) SELECT caller, date(admitted_ms / 1000, 'unixepoch'), key_id, task, "
            "model, count(*), max(admitted_ms) FROM requests GROUP BY 1, 2, 3, 4, 5"
        )
        assert prune(connection, NOON_MS + MANY, ENTRY, told) >= 60_000
    assert steps[0] == (ROWS_AT_ONCE, 60_000)
    assert len(steps) >= 60_000 / ROWS_AT_ONCE


def test_a_killed_prune_leaves_consistent_totals(database: Database, connection: apsw.Connection) -> None:
    connection.execute(FILL)
    before = usage_totals(connection, Grouping.CALLER, Period())
    process = multiprocessing.get_context("fork").Process(target=prune_and_die, args=(database,))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    there, pruned = count_rows(connection, Period())
    assert (there + pruned, pruned) == (MANY + 26, 3 * ROWS_AT_ONCE)
    assert usage_totals(connection, Grouping.CALLER, Period()) == before
    assert disagreements(connection, Period()) == []
    assert [entry.action for entry in SqliteCallers(connection).audit(1)] == ["prune"]


def prune_and_die(database: Database) -> None:
    def told(done: int, total: int) -> None:
        if done >= 3 * ROWS_AT_ONCE:
            os.kill(os.getpid(), signal.SIGKILL)

    with closing(database.connect()) as connection:
        prune(connection, NOON_MS + MANY + 1, ENTRY, told)
