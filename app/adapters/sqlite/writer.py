"""The gateway's one writing connection: group commit on a thread of its own.

A transaction contains all writes that wait when it begins, so a burst of requests shares one fsync. `reserve` and
`settle` return an awaitable at once, which ends when the row is on disk.

If the storage fails, the writer drops a hold, because its request is refused. It keeps a settlement and retries it,
because its money is spent. If a single write is at fault, the writer logs an error and discards that write alone.
"""

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Final, NamedTuple

from app.adapters.sqlite.connection import STORAGE_ERRORS, write_transaction
from app.adapters.sqlite.database import Database
from app.adapters.sqlite.statements import (
    CLOSE_ORPHANS,
    TOUCH,
    Row,
    Statement,
    count_refusal,
    held_row,
    insert_alert,
    insert_holds,
    mark_alert,
    revise_holds,
    revised_row,
    settle_rows,
    settled_row,
)
from app.clock import now_ms
from app.errors import APIError
from app.gateway.caller import Caller
from app.gateway.inbound_request import InboundRequest
from app.gateway.ledger_rows import Hold, SettlementResult
from app.gateway.ports import LedgerUnavailable
from app.policy.budget import Amounts

RETRY_SECONDS = 1.0
# While so many writes wait, refusals are not counted: no request awaits them, so nothing else bounds their number.
MAX_WAITING = 10_000

# After a transaction of at least this many writes, the next one waits a little to gather more. On a fast disk few
# writes would share a commit otherwise, and commits would take a quarter of the processor's time.
BUSY_BATCH = 4
GATHER_SECONDS = 0.002

_log = logging.getLogger("audio_gateway.ledger")

# Receives, on the writer's thread, the number of writes of each transaction and its duration in seconds.
Committed = Callable[[int, float], None]


class _Write(NamedTuple):
    """One unit of work: a row to insert, to revise or to settle, and further statements.

    `retried` is true for a write that must be repeated until it succeeds. `waiter` ends when the write is on disk.
    """

    description: str
    hold: Row | None = None
    revision: Row | None = None
    settlement: Row | None = None
    statements: tuple[Statement, ...] = ()
    retried: bool = False
    waiter: "asyncio.Future[None] | None" = None


class _Completed:
    """An awaitable that ends at once."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


_NOTHING_TO_AWAIT: Final = _Completed()

# Written after a failure if nothing else waits, to detect that the ledger can be written again.
_PROBE: Final = _Write("a probe", retried=True)


class LedgerWriter:
    """Takes writes from the event loop and commits them in groups. Implements the gateway's `Ledger` port.

    Call `open` first. `start` and `stop` must be called on the event loop's thread.
    """

    def __init__(self, database: Database, committed: Committed = lambda writes, seconds: None) -> None:
        self._database = database
        self._committed = committed
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger-writer")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unwritten: list[_Write] = []
        self._dropped_holds: set[object] = set()
        self._uncounted = 0
        self._lowered: deque[_Write] = deque()
        self._seq = 0
        self._busy = False
        self.writable = True

    def open(self) -> int:
        """Connects, and returns how many held rows of a killed process became `unknown`. Raises LedgerUnusable."""
        self._connection = self._database.connect()
        self._database.pin_file()
        with self._database.errors_explained(), write_transaction(self._connection):
            self._connection.execute(CLOSE_ORPHANS, (now_ms(), self._next_seq()))
            return self._connection.changes()

    def start(self) -> None:
        """Starts the writer's thread."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Commits the writes that wait, and ends the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    def reserve(self, hold: Hold) -> Awaitable[None]:
        """Writes the row of an admitted request."""
        waiter = self._waiter()
        self._queue.put(_Write(f"the hold of {hold.id}", hold=held_row(hold, self._next_seq()), waiter=waiter))
        return waiter

    def revise(self, request_id: str, bound: Amounts, *, raised: bool) -> Awaitable[None]:
        """Writes another bound into a held row: a raised bound at once, a lower one with the next transaction.

        A lower bound needs no transaction of its own, because the settlement writes the bound too. Only a killed
        process leaves the higher bound.
        """
        row = revised_row(request_id, bound)
        if not raised:
            self._lowered.append(_Write(f"the lower hold of {request_id}", revision=row))
            return _NOTHING_TO_AWAIT
        waiter = self._waiter()
        self._queue.put(_Write(f"the higher hold of {request_id}", revision=row, waiter=waiter))
        return waiter

    def settle(self, result: SettlementResult) -> Awaitable[None]:
        """Writes how a held request ended, and the budget alerts of its charge. A settled row does not change."""
        waiter = self._waiter()
        row, alerts = settled_row(result, self._next_seq()), tuple(map(insert_alert, result.alerts))
        write = _Write(f"the settlement of {result.id}", settlement=row, statements=alerts, retried=True, waiter=waiter)
        self._queue.put(write)
        return waiter

    def refuse(self, caller: Caller, request: InboundRequest, refusal: APIError) -> None:
        """Counts a refusal of a known caller, without an awaitable."""
        if self._queue.qsize() >= MAX_WAITING:
            if not self._uncounted:
                _log.warning(
                    "%d writes wait for the ledger's disk; refusals are not counted until they are written", MAX_WAITING
                )
            self._uncounted += 1
            return
        self._uncounted = 0
        self._queue.put(_Write(f"the refusal of {request.id}", statements=(count_refusal(caller, request, refusal),)))

    def mark_alert(self, alert_id: str, next_ms: int, delivered_ms: int | None) -> None:
        """Records an attempt to deliver a budget alert, without an awaitable."""
        self._queue.put(
            _Write(f"the delivery attempt of {alert_id}", statements=(mark_alert(alert_id, next_ms, delivered_ms),))
        )

    @property
    def unwritten(self) -> int:
        """The number of settlements that could not be written yet."""
        return len(self._unwritten)

    def _next_seq(self) -> int:
        """Returns a number that orders this write among all writes. They are committed in this order."""
        self._seq = max(self._seq + 1, time.time_ns())
        return self._seq

    def _waiter(self) -> "asyncio.Future[None]":
        assert self._loop is not None
        return self._loop.create_future()

    def _run(self) -> None:
        running = True
        while running:
            batch = self._next_batch()
            running = None not in batch
            retrying = self._unwritten not in ([], [_PROBE])
            writes = [
                write for write in batch if write is not None and not (retrying and self._skip_without_row(write))
            ]
            if writes or self._unwritten:
                try:
                    self._commit([*self._unwritten, *self._take_lowered(), *writes])
                except Exception:
                    _log.exception("the ledger's writer failed unexpectedly")

    def _skip_without_row(self, write: _Write) -> bool:
        """Completes a settlement whose hold was dropped, as it has no row. Returns whether it did."""
        if not self._dropped_holds or write.settlement is None or write.settlement[0] not in self._dropped_holds:
            return False
        self._dropped_holds.discard(write.settlement[0])
        self._complete([write], None)
        return True

    def _next_batch(self) -> list[_Write | None]:
        """Waits for writes and returns all of them; None marks the end. Empty after a pause if a retry is due."""
        batch: list[_Write | None] = []
        try:
            batch.append(self._queue.get(timeout=RETRY_SECONDS if self._unwritten else None))
            if self._busy:
                time.sleep(GATHER_SECONDS)
            while True:
                batch.append(self._queue.get_nowait())
        except queue.Empty:
            self._busy = len(batch) >= BUSY_BATCH
            return batch

    def _take_lowered(self) -> Iterator[_Write]:
        while self._lowered:
            yield self._lowered.popleft()

    def _commit(self, writes: list[_Write]) -> None:
        """Commits all writes in one transaction, or one by one if a single write makes the transaction fail."""
        try:
            self._transaction(writes)
        except STORAGE_ERRORS as error:
            self._mark_failed(writes, error)
        except Exception:
            self._commit_one_by_one(writes)
        else:
            self._mark_written()
            self._complete(writes, None)

    def _commit_one_by_one(self, writes: list[_Write]) -> None:
        for number, write in enumerate(writes):
            try:
                self._transaction([write])
            except STORAGE_ERRORS as error:
                self._mark_failed(writes[number:], error)
                return
            except Exception as error:
                _log.error(
                    "%s cannot be written and is discarded: %s: %s", write.description, type(error).__name__, error
                )
                self._complete([write], LedgerUnavailable(str(error)))
            else:
                self._complete([write], None)
        self._mark_written()

    def _transaction(self, writes: list[_Write]) -> None:
        self._database.check_in_place()
        if self._connection.in_transaction:  # a rollback failed before
            self._connection.execute("ROLLBACK")
        began = time.monotonic()
        with write_transaction(self._connection):
            for sql, values in _statements(writes):
                self._connection.execute(sql, values)
            if not self.writable:  # a settlement without a row changes nothing, so it proves nothing
                self._connection.execute(TOUCH)
        self._committed(len(writes), time.monotonic() - began)

    def _mark_written(self) -> None:
        if not self.writable:
            settlements = sum(write is not _PROBE for write in self._unwritten)
            _log.warning("the ledger can be written again; %d delayed settlements written", settlements)
        self.writable = True
        self._unwritten = []

    def _mark_failed(self, writes: list[_Write], error: Exception) -> None:
        if self.writable:
            _log.error("the ledger cannot be written: %s", error)
        self.writable = False
        self._dropped_holds.update(write.hold[0] for write in writes if write.hold is not None)
        pending = [write for write in writes if write.retried and write is not _PROBE]
        # With nothing else to retry, a settlement without a row serves as the probe: it writes more than `TOUCH` does.
        self._unwritten = [write for write in pending if not self._skip_without_row(write)] or pending[-1:] or [_PROBE]
        self._complete(writes, LedgerUnavailable(str(error)))

    def _complete(self, writes: list[_Write], error: LedgerUnavailable | None) -> None:
        assert self._loop is not None
        waiters = [write.waiter for write in writes if write.waiter is not None]
        if waiters:
            self._loop.call_soon_threadsafe(_complete_waiters, waiters, error)


def _statements(writes: list[_Write]) -> Iterator[Statement]:
    """Yields the statements of these writes: within a transaction a row is inserted before it is settled."""
    settlements = [write.settlement for write in writes if write.settlement is not None]
    settled_ids = {row[0] for row in settlements}  # a settlement writes the bound too
    revisions = [write.revision for write in writes if write.revision is not None]
    yield from insert_holds([write.hold for write in writes if write.hold is not None])
    yield from revise_holds([row for row in revisions if row[0] not in settled_ids])
    yield from settle_rows(settlements)
    for write in writes:
        yield from write.statements


def _complete_waiters(waiters: "list[asyncio.Future[None]]", error: LedgerUnavailable | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
            waiter.exception()  # marks it as retrieved: a cancelled request never awaits it, and the log has it already
