"""The gateway's one writing connection: group commit on a thread of its own.

Whatever waits when a transaction begins is in it, so a burst of requests shares one fsync. `reserve` and `settle`
return an awaitable at once, which ends when the row is on disk. A hold that cannot be written is dropped, because its
request is refused. An outcome that cannot be written is kept and tried again, because its money is spent. A write that
fails for a reason of its own, not the disk's or a lock's, is set aside with an error in the log, and the others go on.
"""

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Final, NamedTuple

from app.adapters.sqlite.database import STORAGE_ERRORS, Database, immediate
from app.adapters.sqlite.statements import (
    CLOSE_ORPHANS,
    TOUCH,
    Row,
    Statement,
    alerted,
    closed,
    closing,
    held,
    holding,
    marked,
    refused,
    revised,
    revising,
)
from app.clock import now_ms
from app.errors import APIError
from app.gateway.caller import Caller
from app.gateway.inbound_request import InboundRequest
from app.gateway.ledger_rows import Hold, SettlementResult
from app.gateway.ports import LedgerUnavailable
from app.policy.budget import Amounts

RETRY_SECONDS = 1.0
# While so many writes wait for the disk, refusals are not counted: nobody waits for them, so nothing else bounds them.
MAX_WAITING = 10_000

# Where the transaction before had so many writes, the next waits a little for more of them: where commits are quick,
# few writes would share one, and a quarter of the processor's time would go into that.
CROWD = 4
GATHER_SECONDS = 0.002

_log = logging.getLogger("audio_gateway.ledger")

# Told, on the writer's thread, of how many writes each transaction had and how many seconds it took.
Committed = Callable[[int, float], None]


class _Write(NamedTuple):
    """What belongs together: a row that begins, is revised or ends, and other statements. `state` is what must be
    tried until it is written; `waiter` is who waits for it.
    """

    subject: str
    held: Row | None = None
    revised: Row | None = None
    closed: Row | None = None
    others: tuple[Statement, ...] = ()
    state: bool = False
    waiter: "asyncio.Future[None] | None" = None


class _Completed:
    """An awaitable that ends at once."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


_NOTHING_TO_AWAIT: Final = _Completed()

# Tried when nothing else waits after a failure, so that it shows when the ledger can be written again.
_PROBE: Final = _Write("a probe", state=True)


class LedgerWriter:
    """Takes writes from the event loop and commits them together. `start` and `stop` belong to the loop's thread,
    and `open` comes before them.
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
        self._crowded = False
        self.writable = True

    def open(self) -> int:
        """Close what a killed process left held; the number of rows that were closed; LedgerUnusable."""
        self._connection = self._database.connect()
        self._database.hold_on()
        with self._database.explained(), immediate(self._connection):
            self._connection.execute(CLOSE_ORPHANS, (now_ms(), self._next_seq()))
            return self._connection.changes()

    def start(self) -> None:
        """Begin to write what is handed in."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Write what is waiting, and end."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    def reserve(self, hold: Hold) -> Awaitable[None]:
        """Write the row of a request that is admitted."""
        waiter = self._waiter()
        self._queue.put(_Write(f"the hold of {hold.id}", held=held(hold, self._next_seq()), waiter=waiter))
        return waiter

    def revise(self, request_id: str, bound: Amounts, *, raised: bool) -> Awaitable[None]:
        """Writes another bound into a held row: a raised one at once, a lower one with whatever is written next.

        A transaction for a lower bound alone is worth nothing: the row's end brings its hold too, and only a killed
        process leaves the higher one.
        """
        row = revised(request_id, bound)
        if not raised:
            self._lowered.append(_Write(f"the lower hold of {request_id}", revised=row))
            return _NOTHING_TO_AWAIT
        waiter = self._waiter()
        self._queue.put(_Write(f"the higher hold of {request_id}", revised=row, waiter=waiter))
        return waiter

    def settle(self, result: SettlementResult) -> Awaitable[None]:
        """Write how a held request ended, with the notices of its charge. A row that is closed stays as it is."""
        waiter = self._waiter()
        row, alerts = closed(result, self._next_seq()), tuple(map(alerted, result.alerts))
        self._queue.put(_Write(f"the outcome of {result.id}", closed=row, others=alerts, state=True, waiter=waiter))
        return waiter

    def refuse(self, caller: Caller, call: InboundRequest, refusal: APIError) -> None:
        """Count a refusal of a known caller; nobody waits for it."""
        if self._queue.qsize() >= MAX_WAITING:
            if not self._uncounted:
                _log.warning(
                    "%d writes wait for the ledger's disk; until they are done refusals are not counted", MAX_WAITING
                )
            self._uncounted += 1
            return
        self._uncounted = 0
        self._queue.put(_Write(f"the refusal of {call.id}", others=(refused(caller, call, refusal),)))

    def mark_alert(self, notice_id: str, next_ms: int, delivered_ms: int | None) -> None:
        """Write down a try to deliver a notice; nobody waits for it."""
        self._queue.put(_Write(f"the mark on {notice_id}", others=(marked(notice_id, next_ms, delivered_ms),)))

    @property
    def late(self) -> int:
        """How many outcomes could not be written yet."""
        return len(self._unwritten)

    def _next_seq(self) -> int:
        """The place of a write among all writes: they are committed in the order in which they are handed in."""
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
            kept = self._unwritten not in ([], [_PROBE])
            writes = [write for write in batch if write is not None and not (kept and self._is_void(write))]
            if writes or self._unwritten:
                try:
                    self._commit([*self._unwritten, *self._take_lowered(), *writes])
                except Exception:
                    _log.exception("the ledger's writer made an error")

    def _is_void(self, write: _Write) -> bool:
        """Whether this is the outcome of a hold that could not be written: there is no row that it could close."""
        if not self._dropped_holds or write.closed is None or write.closed[0] not in self._dropped_holds:
            return False
        self._dropped_holds.discard(write.closed[0])
        self._tell([write], None)
        return True

    def _next_batch(self) -> list[_Write | None]:
        """All that waits, None for the end; what could not be written before is taken up again after a pause."""
        batch: list[_Write | None] = []
        try:
            batch.append(self._queue.get(timeout=RETRY_SECONDS if self._unwritten else None))
            if self._crowded:
                time.sleep(GATHER_SECONDS)
            while True:
                batch.append(self._queue.get_nowait())
        except queue.Empty:
            self._crowded = len(batch) >= CROWD
            return batch

    def _take_lowered(self) -> Iterator[_Write]:
        while self._lowered:
            yield self._lowered.popleft()

    def _commit(self, writes: list[_Write]) -> None:
        """Write all of these in one transaction, or one by one where one of them would spoil it for the others."""
        try:
            self._transaction(writes)
        except STORAGE_ERRORS as error:
            self._failed(writes, error)
        except Exception:
            self._commit_one_by_one(writes)
        else:
            self._done()
            self._tell(writes, None)

    def _commit_one_by_one(self, writes: list[_Write]) -> None:
        for number, write in enumerate(writes):
            try:
                self._transaction([write])
            except STORAGE_ERRORS as error:
                self._failed(writes[number:], error)
                return
            except Exception as error:
                _log.error(
                    "%s can never be written and is set aside: %s: %s", write.subject, type(error).__name__, error
                )
                self._tell([write], LedgerUnavailable(str(error)))
            else:
                self._tell([write], None)
        self._done()

    def _transaction(self, writes: list[_Write]) -> None:
        self._database.check_in_place()
        if self._connection.in_transaction:  # one that could not even be rolled back
            self._connection.execute("ROLLBACK")
        began = time.monotonic()
        with immediate(self._connection):
            for sql, values in _statements(writes):
                self._connection.execute(sql, values)
            if not self.writable:  # an outcome without its hold changes nothing, and would prove nothing
                self._connection.execute(TOUCH)
        self._committed(len(writes), time.monotonic() - began)

    def _done(self) -> None:
        if not self.writable:
            late = sum(write is not _PROBE for write in self._unwritten)
            _log.warning("the ledger can be written again; %d late outcomes written", late)
        self.writable = True
        self._unwritten = []

    def _failed(self, writes: list[_Write], error: Exception) -> None:
        if self.writable:
            _log.error("the ledger cannot be written: %s", error)
        self.writable = False
        self._dropped_holds.update(write.held[0] for write in writes if write.held is not None)
        late = [write for write in writes if write.state and write is not _PROBE]
        # One that is void is kept where nothing else is: as a probe it shows more than the row that is always there.
        self._unwritten = [write for write in late if not self._is_void(write)] or late[-1:] or [_PROBE]
        self._tell(writes, LedgerUnavailable(str(error)))

    def _tell(self, writes: list[_Write], error: LedgerUnavailable | None) -> None:
        assert self._loop is not None
        waiters = [write.waiter for write in writes if write.waiter is not None]
        if waiters:
            self._loop.call_soon_threadsafe(_resolve, waiters, error)


def _statements(writes: list[_Write]) -> Iterator[Statement]:
    """What these writes come to. Within a transaction a row is begun before it is closed."""
    ends = [write.closed for write in writes if write.closed is not None]
    ended = {row[0] for row in ends}  # an end brings the hold with it
    yield from holding([write.held for write in writes if write.held is not None])
    yield from revising([each.revised for each in writes if each.revised is not None and each.revised[0] not in ended])
    yield from closing(ends)
    for write in writes:
        yield from write.others


def _resolve(waiters: "list[asyncio.Future[None]]", error: LedgerUnavailable | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
            waiter.exception()  # a request that came to nothing before has no use for it, and the log has it already
