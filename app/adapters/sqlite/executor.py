"""Work on the ledger beside the requests, such as reports: on few threads of its own, with few who may wait for them.

It is kept off asyncio's own threads, which move uploads, and a connection is opened for each piece of it.
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
    """Does one kind of work. `close` ends what is still being done."""

    def __init__(self, database: Database, name: str, threads: int = THREADS, max_waiting: int = MAX_WAITING) -> None:
        self._database = database
        self._name = name
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._places = threading.BoundedSemaphore(threads + max_waiting)
        self._guard = threading.Lock()
        self._open: set[apsw.Connection] = set()
        self._closed = False

    async def run(self, work: Callable[[SqliteSession], T]) -> T:
        """What this work gives; APIError 503 if too many wait already, or if the ledger cannot be used."""
        if not self._places.acquire(blocking=False):
            raise errors.overloaded(f"too many {self._name} are asked for at once")
        try:
            future = self._threads.submit(self._in_session, work)
        except RuntimeError as error:
            self._places.release()
            raise errors.shutting_down() from error
        future.add_done_callback(lambda _: self._places.release())
        try:
            return await asyncio.wrap_future(future)
        except LedgerUnusable as error:
            _log.error("%s: %s", self._name, error)
            raise errors.ledger_unavailable() from error

    async def close(self) -> None:
        """Take nothing more, interrupt what is under way, and wait for its end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._guard:
            self._closed = True
            for connection in self._open:
                connection.interrupt()
        await asyncio.to_thread(self._threads.shutdown)

    def _in_session(self, work: Callable[[SqliteSession], T]) -> T:
        with self._database.session() as connection, self._interruptible(connection):
            return work(SqliteSession(connection))

    @contextmanager
    def _interruptible(self, connection: apsw.Connection) -> Iterator[None]:
        with self._guard:
            if self._closed:
                raise LedgerUnusable("the gateway is stopping")
            self._open.add(connection)
        try:
            yield
        finally:
            with self._guard:
                self._open.discard(connection)
