"""The gateway's one writing connection: group commit on a thread of its own.

Whatever waits when a transaction begins is in it, so a burst of requests shares one fsync. Who calls `hold` or `close`
gets an awaitable at once, and it ends when the row is on disk. A hold that could not be written is dropped, for its
request is refused; an outcome that could not be written is kept and tried again, for its money is spent. A write that
fails for a reason of its own, not the disk's or a lock's, is set aside with an error in the log, and the others go on.
"""

import asyncio
import json
import logging
import queue
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Final

import apsw

from app.adapters.ledger.database import Database, immediate
from app.adapters.ledger.schema import VERSION
from app.clock import now_ms
from app.errors import Refusal
from app.gateway.accounting import Outcome
from app.gateway.admission import Hold, LedgerUnavailable
from app.gateway.auth import Caller
from app.gateway.budgets import Notice
from app.gateway.call import Call

RETRY_SECONDS = 1.0

# With so many rows open, a transaction waits a little for those that come next: where commits are quick, each write
# would otherwise have one of its own, and a quarter of the processor's time would go into that.
CROWD = 8
GATHER_SECONDS = 0.002

_log = logging.getLogger("audio_gateway.ledger")

# The two of every request take a JSON array of rows, so that a whole batch is one step of SQLite's: who steps row by
# row takes Python's lock away from the event loop as often.
_HOLD = """
INSERT INTO requests (id, caller, key_id, task, model, upstream, upstream_model, container, state,
                      bound_audio_ms, bound_tokens, bound_nano_usd, tags, received_ms, admitted_ms, held_seq)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, 'held',
       value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14
FROM json_each(?)
"""
_CLOSE = """
UPDATE requests SET state = new.value ->> 0, status = new.value ->> 1, error = new.value ->> 2,
    source = new.value ->> 3, audio_ms = new.value ->> 4, input_tokens = new.value ->> 5,
    audio_tokens = new.value ->> 6, text_tokens = new.value ->> 7, output_tokens = new.value ->> 8,
    total_tokens = new.value ->> 9, charged_tokens = new.value ->> 10, cost_nano_usd = new.value ->> 11,
    file_bytes = new.value ->> 12, response_format = new.value ->> 13, stream = new.value ->> 14,
    upstream_request_id = new.value ->> 15, sent_ms = new.value ->> 16, answered_ms = new.value ->> 17,
    done_ms = new.value ->> 18, closed_seq = new.value ->> 19
FROM json_each(?) AS new WHERE requests.id = new.value ->> 20 AND requests.state = 'held'
"""
_REFUSE = """
INSERT INTO refusals (day, caller, key_id, task, model, code, count) VALUES (?, ?, ?, ?, ?, ?, 1)
ON CONFLICT DO UPDATE SET count = count + 1
"""
_NOTICE = """
INSERT OR IGNORE INTO notices (id, caller, budget, window_day, threshold, body, created_ms, next_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_MARK_NOTICE = "UPDATE notices SET attempts = attempts + 1, next_ms = ?, delivered_ms = ? WHERE id = ?"
# Within a transaction a row is begun before it is closed.
_BY_BATCH = (_HOLD, _CLOSE)

_CLOSE_ORPHANS = """
UPDATE requests SET state = 'unknown', error = 'gateway_stopped', source = 'estimated', audio_ms = bound_audio_ms,
    charged_tokens = bound_tokens, cost_nano_usd = bound_nano_usd, done_ms = ?, closed_seq = ? WHERE state = 'held'
"""

# What is wrong with the place that is written to, and may pass. Every other error is that of what is written.
_OF_THE_PLACE = (
    apsw.BusyError,
    apsw.LockedError,
    apsw.ProtocolError,
    apsw.FullError,
    apsw.IOError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.PermissionsError,
    apsw.NoMemError,
    apsw.CorruptError,
    apsw.NotADBError,
    OSError,
    MemoryError,
)

Value = str | int | None

# Told, on the writer's thread, of how many writes each transaction had and how many seconds it took.
Committed = Callable[[int, float], None]


@dataclass(frozen=True, slots=True)
class _Write:
    """Statements that belong together, whether they must be tried until they are written, and who waits for them."""

    subject: str
    statements: tuple[tuple[str, tuple[Value, ...]], ...]
    lasting: bool
    waiter: "asyncio.Future[None] | None" = None


_STOP: Final = _Write("", (), lasting=False)

# Tried when nothing else waits after a failure, so that it shows when the ledger can be written again.
_PROBE: Final = _Write("a probe", (), lasting=True)
_TOUCH = f"PRAGMA user_version = {VERSION}"


class LedgerWriter:
    """Takes writes from the event loop and commits them together. `start` and `stop` belong to the loop's thread,
    and `open` comes before them.
    """

    def __init__(self, database: Database, committed: Committed = lambda writes, seconds: None) -> None:
        self._database = database
        self._committed = committed
        self._queue: queue.SimpleQueue[_Write] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger-writer")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unwritten: list[_Write] = []
        self._seq = 0
        self._open_rows = 0
        self.writable = True

    def open(self) -> int:
        """Close what a killed process left held; the number of rows that were closed; LedgerUnusable."""
        self._connection = self._database.connect()
        self._database.hold_on()
        with self._database.explained(), immediate(self._connection):
            self._connection.execute(_CLOSE_ORPHANS, (now_ms(), self._next_seq()))
            return self._connection.changes()

    def start(self) -> None:
        """Begin to write what is handed in."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Write what is waiting, and end."""
        self._queue.put(_STOP)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    def hold(self, hold: Hold) -> Awaitable[None]:
        """Write the row of a request that is admitted."""
        self._open_rows += 1
        values = (
            hold.id,
            hold.caller,
            hold.key_id,
            hold.task,
            hold.model,
            hold.upstream,
            hold.upstream_model,
            hold.container,
            hold.bound.audio,
            hold.bound.tokens,
            hold.bound.cost,
            json.dumps(dict(hold.tags)),
            hold.received_ms,
            hold.admitted_ms,
            self._next_seq(),
        )
        return self._awaited(f"the hold of {hold.id}", (_HOLD, values), lasting=False)

    def close(self, outcome: Outcome) -> Awaitable[None]:
        """Write how a held request ended, with the notices of its charge. A row that is closed stays as it is."""
        self._open_rows -= 1
        tokens = outcome.tokens
        values = (
            outcome.state,
            outcome.status,
            outcome.error,
            outcome.source,
            outcome.charge.audio,
            tokens.input if tokens else None,
            tokens.audio if tokens else None,
            tokens.text if tokens else None,
            tokens.output if tokens else None,
            tokens.total if tokens else None,
            outcome.charge.tokens,
            outcome.charge.cost,
            outcome.file_bytes,
            outcome.response_format,
            outcome.stream,
            outcome.upstream_request_id,
            outcome.sent_ms,
            outcome.answered_ms,
            outcome.done_ms,
            self._next_seq(),
            outcome.id,
        )
        notices = ((_NOTICE, _notice_values(notice)) for notice in outcome.notices)
        return self._awaited(f"the outcome of {outcome.id}", (_CLOSE, values), *notices, lasting=True)

    def refuse(self, caller: Caller, call: Call, refusal: Refusal) -> None:
        """Count a refusal of a known caller; nobody waits for it."""
        day = datetime.fromtimestamp(call.received_ms / 1000, UTC).date().isoformat()
        values = (day, caller.name, caller.key_id, call.task, refusal.model or "", refusal.code)
        self._queue.put(_Write(f"the refusal of {call.id}", ((_REFUSE, values),), lasting=False))

    def mark_notice(self, notice_id: str, next_ms: int, delivered_ms: int | None) -> None:
        """Write down a try to deliver a notice; nobody waits for it."""
        values = (next_ms, delivered_ms, notice_id)
        self._queue.put(_Write(f"the mark on {notice_id}", ((_MARK_NOTICE, values),), lasting=False))

    @property
    def late(self) -> int:
        """How many outcomes could not be written yet."""
        return len(self._unwritten)

    def _next_seq(self) -> int:
        """The place of a write among all writes: they are committed in the order in which they are handed in."""
        self._seq = max(self._seq + 1, time.time_ns())
        return self._seq

    def _awaited(self, subject: str, *statements: tuple[str, tuple[Value, ...]], lasting: bool) -> Awaitable[None]:
        assert self._loop is not None
        waiter = self._loop.create_future()
        self._queue.put(_Write(subject, statements, lasting, waiter))
        return waiter

    def _run(self) -> None:
        running = True
        while running:
            batch = self._next_batch()
            running = _STOP not in batch
            writes = [write for write in batch if write is not _STOP]
            if writes or self._unwritten:
                try:
                    self._commit([*self._unwritten, *writes])
                except Exception:
                    _log.exception("the ledger's writer made an error")

    def _next_batch(self) -> list[_Write]:
        """All that waits; what could not be written before is taken up again after a pause."""
        batch = []
        try:
            batch.append(self._queue.get(timeout=RETRY_SECONDS if self._unwritten else None))
            if self._open_rows >= CROWD:
                time.sleep(GATHER_SECONDS)
            while True:
                batch.append(self._queue.get_nowait())
        except queue.Empty:
            return batch

    def _commit(self, writes: list[_Write]) -> None:
        """Write all of these in one transaction, or one by one where one of them would spoil it for the others."""
        try:
            self._transaction(writes)
        except _OF_THE_PLACE as error:
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
            except _OF_THE_PLACE as error:
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
                self._connection.execute(_TOUCH)
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
        self._unwritten = [write for write in writes if write.lasting and write is not _PROBE] or [_PROBE]
        self._tell(writes, LedgerUnavailable(str(error)))

    def _tell(self, writes: list[_Write], error: LedgerUnavailable | None) -> None:
        assert self._loop is not None
        waiters = [write.waiter for write in writes if write.waiter is not None]
        if waiters:
            self._loop.call_soon_threadsafe(_resolve, waiters, error)


def _statements(writes: list[_Write]) -> list[tuple[str, tuple[Value, ...]]]:
    """What these writes come to, with the rows of every request together."""
    rows: dict[str, list[tuple[Value, ...]]] = {sql: [] for sql in _BY_BATCH}
    others = []
    for sql, values in chain.from_iterable(write.statements for write in writes):
        if sql in rows:
            rows[sql].append(values)
        else:
            others.append((sql, values))
    return [(sql, (json.dumps(batch, ensure_ascii=False),)) for sql, batch in rows.items() if batch] + others


def _notice_values(notice: Notice) -> tuple[Value, ...]:
    return (
        notice.id,
        notice.caller,
        notice.budget,
        notice.window.isoformat(),
        notice.threshold,
        json.dumps(notice.document()),
        notice.created_ms,
        notice.created_ms,
    )


def _resolve(waiters: "list[asyncio.Future[None]]", error: LedgerUnavailable | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
