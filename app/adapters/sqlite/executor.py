"""Work on the ledger beside the requests, such as reports: few threads of its own, and a bounded queue.

It does not use asyncio's default threads, because these move uploads. Each piece of work has its own session.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import apsw

from app import errors
from app.adapters.sqlite.database import Database
from app.adapters.sqlite.session import SqliteSession
from app.services.ports import LedgerUnusable

THREADS = 2
MAX_WAITING = 16

T = TypeVar("T")

_log = logging.getLogger("audio_gateway.ledger")


class LedgerExecutor:
    """Runs one kind of work. Implements the port `LedgerWork`."""

    def __init__(self, database: Database, name: str, threads: int = THREADS, max_waiting: int = MAX_WAITING) -> None:
        self._database = database
        self._name = name
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._slots = threading.BoundedSemaphore(threads + max_waiting)
        self._connections_lock = threading.Lock()
        self._connections: set[apsw.Connection] = set()
        self._closed = False

    async def run(self, work: Callable[[SqliteSession], T]) -> T:
        """Returns the result of `work`. Raises APIError 503 if too much work waits or the ledger cannot be used."""
        if not self._slots.acquire(blocking=False):
            raise errors.overloaded(f"too many {self._name} at once")
        try:
            future = self._threads.submit(self._in_session, work)
        except RuntimeError as error:
            self._slots.release()
            raise errors.shutting_down() from error
        future.add_done_callback(lambda _: self._slots.release())
        try:
            return await asyncio.wrap_future(future)
        except LedgerUnusable as error:
            _log.error("%s: %s", self._name, error)
            raise errors.ledger_unavailable() from error

    async def close(self) -> None:
        """Accepts no more work, interrupts the work in progress, and waits for its end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._connections_lock:
            self._closed = True
            for connection in self._connections:
                connection.interrupt()
        await asyncio.to_thread(self._threads.shutdown)

    def _in_session(self, work: Callable[[SqliteSession], T]) -> T:
        with self._database.session() as connection, self._interruptible(connection):
            return work(SqliteSession(connection))

    @contextmanager
    def _interruptible(self, connection: apsw.Connection) -> Iterator[None]:
        with self._connections_lock:
            if self._closed:
                raise LedgerUnusable("the gateway is stopping")
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._connections_lock:
                self._connections.discard(connection)
