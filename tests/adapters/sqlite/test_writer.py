"""The writer: many writes in one transaction, in order, each once, and no settlement is lost."""

import asyncio
import struct
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from app.adapters.sqlite import Database, LedgerWriter
from app.adapters.sqlite.maintenance.export import disagreements
from app.adapters.sqlite.writer import MAX_WAITING
from app.errors import APIError
from app.gateway.caller import Caller
from app.gateway.inbound_request import InboundRequest
from app.gateway.ledger_rows import BudgetAlert, State
from app.gateway.ports import LedgerUnavailable
from app.operations import TRANSCRIPTION
from app.policy.budget import Amounts
from app.policy.caller_policy import CallerPolicy
from app.services.usage import Period
from app.wire.headers import Headers
from tests.adapters.sqlite.entries import BOUND, CHARGE, NOON_MS, hold, no_body, record, result, rows, writing

ALICE = Caller("alice", "key_1", CallerPolicy())


def transactions(path: Path) -> int:
    """How many commits the write-ahead log has: a frame that ends one tells the size of the database after it.

    Source: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
    """
    log = path.with_name(path.name + "-wal").read_bytes()
    (page_size,) = struct.unpack_from(">I", log, 8)
    salts, frames = log[16:24], range(32, len(log), 24 + page_size)
    return sum(log[at + 8 : at + 16] == salts and struct.unpack_from(">I", log, at + 4)[0] > 0 for at in frames)


def test_an_awaited_write_is_visible_to_other_connections(database: Database) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            held = hold(tags=(("team", "search"),))
            await writer.reserve(held)
            (row,) = rows(database.path, "SELECT * FROM requests")
            assert (row["id"], row["state"], row["tags"]) == (held.id, "held", '{"team": "search"}')
            assert (row["bound_nano_usd"], row["bound_audio_ms"], row["bound_tokens"]) == (3_000, 2_000, 70)
            assert (row["cost_nano_usd"], row["audio_ms"], row["charged_tokens"], row["closed_seq"]) == (0, 0, 0, None)
            await writer.settle(result(held))
            (row,) = rows(database.path, "SELECT * FROM requests")
            assert (row["state"], row["source"], row["status"]) == ("settled", "upstream", 200)
            assert (row["cost_nano_usd"], row["audio_ms"], row["charged_tokens"]) == (1_500, 1_000, 59)
            assert (row["input_tokens"], row["output_tokens"], row["total_tokens"]) == (14, 45, 59)

    asyncio.run(scenario())


def test_all_waiting_writes_share_one_transaction(database: Database) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            other = database.connect()
            before = transactions(database.path)
            other.execute("BEGIN IMMEDIATE")
            waiting = [asyncio.ensure_future(writer.reserve(hold())) for _ in range(200)]
            await asyncio.sleep(0.05)
            assert not any(each.done() for each in waiting)
            other.execute("ROLLBACK")
            other.close()
            await asyncio.gather(*waiting)
            # What the writer had taken up when the others came is one, all that came meanwhile the second.
            assert transactions(database.path) - before <= 2
            assert len(rows(database.path, "SELECT id FROM requests")) == 200

    asyncio.run(scenario())


def test_settlements_of_dropped_holds_are_not_kept(database: Database) -> None:
    """Each request that is refused during a failure has one; without this rule memory would grow without a bound."""

    async def scenario() -> None:
        async with writing(database) as writer:
            held = hold()
            await writer.reserve(held)
            database.path.rename(database.path.with_suffix(".away"))
            with pytest.raises(LedgerUnavailable):
                await writer.settle(result(held))
            for _ in range(20):
                refused = hold()
                with pytest.raises(LedgerUnavailable):
                    await writer.reserve(refused)
                await writer.settle(result(refused, State.RELEASED))
            assert writer.unwritten == 1
            database.path.with_suffix(".away").rename(database.path)
            await writer.reserve(hold())
            assert writer.unwritten == 0

    asyncio.run(scenario())


def test_refusals_are_not_counted_while_too_many_writes_wait(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            other = database.connect()
            other.execute("BEGIN IMMEDIATE")
            call, refusal = (
                InboundRequest("req_1", TRANSCRIPTION, Headers(()), no_body(), NOON_MS),
                APIError(400, "bad", "Bad."),
            )
            first = asyncio.ensure_future(writer.reserve(hold()))
            await asyncio.sleep(0.05)
            for _ in range(MAX_WAITING + 5_000):
                writer.refuse(ALICE, call, refusal)
            other.execute("ROLLBACK")
            other.close()
            await first
            await writer.reserve(hold())
            counted = rows(database.path, "SELECT * FROM refusals")[0]["count"]
            assert MAX_WAITING <= counted < MAX_WAITING + 5_000
            writer.refuse(ALICE, call, refusal)
            await writer.reserve(hold())
            assert rows(database.path, "SELECT * FROM refusals")[0]["count"] == counted + 1

    asyncio.run(scenario())
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_writes_are_numbered_in_the_order_of_their_calls(database: Database) -> None:
    async def scenario() -> list[str]:
        async with writing(database) as writer:
            holds = [hold() for _ in range(50)]
            await asyncio.gather(*(writer.reserve(each) for each in holds))
            backwards = list(reversed(holds))
            await asyncio.gather(*(writer.settle(result(each)) for each in backwards))
            return [each.id for each in holds]

    ids = asyncio.run(scenario())
    found = rows(database.path, "SELECT id, held_seq, closed_seq FROM requests")
    assert [row["id"] for row in sorted(found, key=lambda row: row["held_seq"])] == ids
    assert [row["id"] for row in sorted(found, key=lambda row: row["closed_seq"])] == ids[::-1]
    numbers = [row[name] for row in found for name in ("held_seq", "closed_seq")]
    assert len(set(numbers)) == len(numbers)
    assert max(row["held_seq"] for row in found) < min(row["closed_seq"] for row in found)


def test_a_raised_hold_shares_the_commit_of_a_waiting_hold(database: Database) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            await writer.reserve(hold())
            before = transactions(database.path)
            with closing(database.connect()) as other:
                other.execute("BEGIN IMMEDIATE")
                first = writer.reserve(hold())  # the writer waits for the lock with this one at the least
                held = hold()
                waiting = [first, writer.reserve(held), writer.revise(held.id, Amounts(9, 8, 7), raised=True)]
                other.execute("ROLLBACK")
            await asyncio.gather(*waiting)
            assert transactions(database.path) - before <= 2
            assert bound_of(database, held.id) == (9, 8, 7)

    asyncio.run(scenario())


def test_a_lower_hold_is_written_with_the_next_transaction(database: Database) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            one, other = hold(), hold()
            await writer.reserve(one)
            before = transactions(database.path)
            writer.revise(one.id, Amounts(9, 8, 7), raised=False)
            await writer.reserve(other)
            assert transactions(database.path) == before + 1
            assert (bound_of(database, one.id), bound_of(database, other.id)) == ((9, 8, 7), tuple(BOUND))

    asyncio.run(scenario())


def test_a_settlement_writes_the_last_hold_and_later_revisions_change_nothing(database: Database) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            held = hold()
            await writer.reserve(held)
            writer.revise(held.id, Amounts(5, 5, 5), raised=False)
            await writer.settle(result(held, State.UNKNOWN, bound=Amounts(9, 8, 7), charge=Amounts(9, 8, 7)))
            writer.revise(held.id, Amounts(1, 1, 1), raised=False)
            await writer.revise(held.id, Amounts(20, 20, 20), raised=True)
            assert bound_of(database, held.id) == (9, 8, 7)
            assert disagreements(database.connect(), Period()) == []

    asyncio.run(scenario())


def bound_of(database: Database, row_id: str) -> tuple[int, ...]:
    (row,) = rows(database.path, "SELECT * FROM requests WHERE id = ?", row_id)
    return row["bound_nano_usd"], row["bound_audio_ms"], row["bound_tokens"]


def test_a_settled_row_does_not_change(database: Database) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            held = await record(writer, hold())
            before = rows(database.path, "SELECT * FROM requests"), rows(database.path, "SELECT * FROM daily")
            await writer.settle(result(held, State.UNKNOWN))
            await writer.settle(result(held, charge=Amounts(1, 1, 1)))
            assert (rows(database.path, "SELECT * FROM requests"), rows(database.path, "SELECT * FROM daily")) == before

    asyncio.run(scenario())


def test_a_full_disk_refuses_holds_and_retries_settlements(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            held = hold()
            await writer.reserve(held)
            pages = writer._connection.pragma("page_count")
            writer._connection.pragma("max_page_count", pages)
            failed = [asyncio.ensure_future(writer.reserve(hold(model="m" * 1000))) for _ in range(50)]
            await asyncio.wait(failed)
            assert all(isinstance(each.exception(), LedgerUnavailable) for each in failed)
            assert not writer.writable
            with pytest.raises(LedgerUnavailable):
                await writer.settle(result(held, error="e" * 20_000))
            writer._connection.pragma("max_page_count", 1_000_000)
            await until(lambda: writer.writable)
            (row,) = rows(database.path, "SELECT * FROM requests")
            assert (row["id"], row["state"], row["cost_nano_usd"]) == (held.id, "settled", CHARGE.cost)
            await record(writer, hold())

    asyncio.run(scenario())
    assert [line.getMessage() for line in caplog.records if line.name == "audio_gateway.ledger"] == [
        "the ledger cannot be written: database or disk is full",
        "the ledger can be written again; 1 delayed settlements written",
    ]


def test_a_locked_ledger_refuses_holds_and_retries_settlements(database: Database) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            writer._connection.set_busy_timeout(0)
            held, refused = hold(), hold()
            await writer.reserve(held)
            other = database.connect()
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerUnavailable, match="lock"):
                await writer.reserve(refused)
            with pytest.raises(LedgerUnavailable):
                await writer.settle(result(held))
            other.execute("ROLLBACK")
            other.close()
            await until(lambda: writer.writable)
            (row,) = rows(database.path, "SELECT * FROM requests")
            assert (row["id"], row["state"]) == (held.id, "settled")

    asyncio.run(scenario())


def test_a_number_out_of_range_fails_no_other_write(database: Database) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            with pytest.raises(LedgerUnavailable):
                await writer.reserve(hold(bound=Amounts(cost=1 << 70)))
            await record(writer, hold())
            assert writer.writable

    asyncio.run(scenario())
    assert len(rows(database.path, "SELECT * FROM requests WHERE state = 'settled'")) == 1


def test_a_faulty_write_is_discarded_and_the_others_are_committed(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            good, bad = [hold() for _ in range(4)], hold()
            await asyncio.gather(*(writer.reserve(each) for each in (*good, bad)))
            other = database.connect()
            other.execute("BEGIN IMMEDIATE")
            waiting = [writer.settle(result(good[0])), writer.settle(result(good[1]))]
            waiting += [
                writer.settle(result(bad, charge=Amounts(1 << 70, 1, 1))),  # OverflowError
                writer.settle(result(bad, upstream_request_id="\ud800")),  # UnicodeEncodeError
                writer.settle(result(bad, status=object())),  # TypeError
                writer.settle(result(bad, charge=Amounts("much", 1, 1))),  # type: ignore[arg-type]  # ConstraintError
                writer.reserve(good[3]),  # ConstraintError: it is there
                writer.settle(result(good[2])),
            ]
            await asyncio.sleep(0.05)
            other.execute("ROLLBACK")
            other.close()
            ended = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 20)
            assert [type(each) for each in ended] == [*[type(None)] * 2, *[LedgerUnavailable] * 5, type(None)]
            assert writer.writable
            await writer.settle(result(good[3]))
            found = {row["id"]: row["state"] for row in rows(database.path, "SELECT * FROM requests")}
            assert found == {**{each.id: "settled" for each in good}, bad.id: "held"}
            messages = [line.getMessage() for line in caplog.records if line.levelname == "ERROR"]
            assert len(messages) == 5
            assert all(f"the settlement of {bad.id} cannot be written" in message for message in messages[:4])
            assert f"the hold of {good[3].id} cannot be written" in messages[4]

    asyncio.run(scenario())
    with closing(database.connect()) as connection:
        assert disagreements(connection, Period(None, None)) == []


def test_stop_commits_waiting_writes(database: Database) -> None:
    async def scenario() -> None:
        writer = LedgerWriter(database)
        writer.open()
        writer.start()
        holds = [hold() for _ in range(100)]
        waiting = [asyncio.ensure_future(writer.reserve(each)) for each in holds]
        waiting += [asyncio.ensure_future(writer.settle(result(each))) for each in holds]
        await writer.stop()
        await asyncio.gather(*waiting)

    asyncio.run(scenario())
    assert len(rows(database.path, "SELECT * FROM requests WHERE state = 'settled'")) == 100


def test_rows_that_a_killed_gateway_held_become_unknown(database: Database) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            await writer.reserve(hold())
            await record(writer, hold())
        writer = LedgerWriter(database)
        assert writer.open() == 1
        writer.start()
        await writer.stop()
        writer = LedgerWriter(database)
        assert writer.open() == 0
        writer.start()
        await writer.stop()

    asyncio.run(scenario())
    (row,) = rows(database.path, "SELECT * FROM requests WHERE state = 'unknown'")
    assert (row["error"], row["source"]) == ("gateway_stopped", "estimated")
    assert (row["cost_nano_usd"], row["audio_ms"], row["charged_tokens"]) == (BOUND.cost, BOUND.audio, BOUND.tokens)
    (day,) = rows(database.path, "SELECT * FROM daily")
    assert (day["requests"], day["settled"], day["unknown"]) == (2, 1, 1)
    assert day["cost_nano_usd"] == CHARGE.cost + BOUND.cost


async def until(predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not predicate():
            await asyncio.sleep(0.01)


def test_refusals_are_counted_without_a_row_for_each(database: Database) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            for number in range(1000):
                call = InboundRequest(f"req_{number}", TRANSCRIPTION, Headers(()), no_body(), NOON_MS)
                writer.refuse(ALICE, call, APIError(429, "rate_limit_exceeded", "x"))
            await record(writer, hold())

    asyncio.run(scenario())
    (row,) = rows(database.path, "SELECT * FROM refusals")
    assert (row["day"], row["caller"], row["key_id"], row["task"], row["model"], row["code"], row["count"]) == (
        "2026-11-24",
        "alice",
        "key_1",
        "transcribe",
        "",
        "rate_limit_exceeded",
        1000,
    )


def test_a_threshold_has_one_alert_in_a_window(database: Database) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            for number in range(3):
                await record(writer, hold(), alerts=(alert(f"ntc_{number}", 80), alert(f"ntc_other_{number}", 95)))
            writer.mark_alert("ntc_0", NOON_MS + 5, None)
            writer.mark_alert("ntc_0", NOON_MS + 9, NOON_MS + 9)
            await record(writer, hold())

    asyncio.run(scenario())
    found = rows(database.path, "SELECT * FROM notices ORDER BY threshold")
    assert [(row["id"], row["attempts"], row["delivered_ms"]) for row in found] == [
        ("ntc_0", 2, NOON_MS + 9),
        ("ntc_other_0", 0, None),
    ]


def alert(notice_id: str, threshold: int) -> BudgetAlert:
    return BudgetAlert(notice_id, "alice", "1usd/day", date(2026, 11, 24), threshold, threshold, "0.8", "1", NOON_MS)
