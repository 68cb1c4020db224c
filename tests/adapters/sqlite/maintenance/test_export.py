"""The export uses constant memory, and the check finds changed rows and totals."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from app.adapters.sqlite import Database
from app.adapters.sqlite.maintenance.export import disagreements, exported_rows
from app.gateway.ledger_rows import State
from app.services.usage import Period
from app.units import iso_time
from tests.adapters.sqlite.entries import NOON_MS, hold, record, writing

MANY = 200_000

FILL = f"""
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {MANY})
INSERT INTO requests (id, caller, key_id, task, model, upstream, upstream_model, container, state, bound_audio_ms,
                      bound_tokens, bound_nano_usd, received_ms, admitted_ms, held_seq, done_ms, closed_seq)
SELECT printf('req_%08d', n), 'caller', 'key', 'transcribe', 'm', 'up', 'm', 'wav', 'released', 1, 1, 1,
       {NOON_MS} + n, {NOON_MS} + n, n, {NOON_MS} + n, n FROM numbers
"""


@pytest.fixture
def connection(database: Database) -> Iterator[apsw.Connection]:
    with closing(database.connect()) as connection:
        yield connection


def fill(database: Database) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            for number, state in enumerate([State.SETTLED, State.UNKNOWN, State.RELEASED]):
                await record(writer, hold(id=f"req_{number}", tags=(("team", "a"),)), state)
            await writer.reserve(hold(id="req_3", model="gpt-transcribe"))

    asyncio.run(scenario())


def hold_open(database: Database, connection: apsw.Connection) -> None:
    fill(database)
    # Reopening closed the row that was left held; make it open again, as it is in a running gateway.
    connection.execute(
        "UPDATE requests SET state = 'held', done_ms = NULL, cost_nano_usd = 0, audio_ms = 0, charged_tokens = 0 "
        "WHERE id = 'req_3'"
    )


def test_exported_rows_have_all_fields(database: Database, connection: apsw.Connection) -> None:
    hold_open(database, connection)
    found = list(exported_rows(connection, Period()))
    assert [(row["id"], row["state"]) for row in found] == [
        ("req_0", "settled"),
        ("req_1", "unknown"),
        ("req_2", "released"),
        ("req_3", "held"),
    ]
    assert [row["cost_usd"] for row in found] == ["0.0000015", "0.000003", "0", "0"]
    assert {row["held_usd"] for row in found} == {"0.000003"}
    assert [row["audio_seconds"] for row in found] == [1.0, 2.0, 0.0, 0.0]
    assert found[0]["input_tokens"] == 14
    assert found[0]["tags"] == {"team": "a"}
    assert found[0]["admitted_at"] == iso_time(NOON_MS)
    assert found[3]["done_at"] is None
    assert len({tuple(row) for row in found}) == 1
    assert not {"held_seq", "bound_nano_usd", "cost_nano_usd"} & set(found[0])


def test_an_empty_ledger_exports_nothing(connection: apsw.Connection) -> None:
    assert list(exported_rows(connection, Period())) == []
    assert disagreements(connection, Period()) == []


def test_an_export_uses_constant_memory(connection: apsw.Connection) -> None:
    connection.execute(FILL)
    before, most = resident_bytes(), 0
    for count, row in enumerate(exported_rows(connection, Period()), start=1):  # noqa: B007
        if count % 10_000 == 0:
            most = max(most, resident_bytes())
    assert disagreements(connection, Period()) == []
    assert (count, row["id"]) == (MANY, f"req_{MANY:08d}")
    assert max(most, resident_bytes()) - before < 16_000_000  # kept in memory, they would take 400 MB


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_totals_and_states_agree_with_the_rows(database: Database, connection: apsw.Connection) -> None:
    hold_open(database, connection)
    assert disagreements(connection, Period()) == []


GROUP = "alice / 2026-11-24 / key_1 / transcribe"


@pytest.mark.parametrize(
    ("change", "model"),
    [
        ("UPDATE daily SET cost_nano_usd = cost_nano_usd + 1 WHERE model = 'whisper-1'", "whisper-1"),
        ("UPDATE daily SET settled = settled - 1, unknown = unknown + 1 WHERE model = 'whisper-1'", "whisper-1"),
        ("UPDATE daily SET requests = 2 WHERE model = 'gpt-transcribe'", "gpt-transcribe"),
        ("DELETE FROM daily WHERE model = 'gpt-transcribe'", "gpt-transcribe"),
        ("DELETE FROM requests WHERE id = 'req_0'", "whisper-1"),
        ("DELETE FROM requests WHERE id = 'req_3'", "gpt-transcribe"),
    ],
)
def test_a_total_that_differs_from_its_rows_is_found(
    database: Database, connection: apsw.Connection, change: str, model: str
) -> None:
    hold_open(database, connection)
    connection.execute(change)
    assert disagreements(connection, Period()) == [f"the sums of {GROUP} / {model} are not those of its rows"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE requests SET done_ms = NULL WHERE id = 'req_0'",
        "UPDATE requests SET done_ms = 1 WHERE id = 'req_3'",
        "UPDATE requests SET cost_nano_usd = 1 WHERE id = 'req_2'",
        "UPDATE requests SET audio_ms = 1 WHERE id = 'req_3'",
        "UPDATE requests SET charged_tokens = 1 WHERE id = 'req_2'",
        "UPDATE requests SET state = 'released' WHERE id = 'req_0'",
    ],
)
def test_a_row_in_a_wrong_state_is_found(database: Database, connection: apsw.Connection, change: str) -> None:
    hold_open(database, connection)
    connection.execute(change)
    assert disagreements(connection, Period()) == ["1 rows have a wrong state"]
