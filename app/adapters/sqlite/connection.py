"""One connection to SQLite: transactions, the tables of a new ledger, and messages for errors."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import apsw

from app.adapters.sqlite.schema import APPLICATION_ID, STEPS, TABLES, VERSION

BUSY_TIMEOUT_MS = 5_000

# Errors of the storage, which may pass. Every other error is a fault of the statement that is executed.
STORAGE_ERRORS = (
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


def enable_write_ahead_log(connection: apsw.Connection) -> object:
    """Switches to write-ahead logging, and returns the journal mode that the file has then.

    SQLite does not wait for a lock here, so two processes that create the same ledger at once would fail.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            return connection.pragma("journal_mode", "wal")
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def create_tables(connection: apsw.Connection) -> None:
    """Creates the tables of the current schema in an empty database."""
    for sql in (TABLES, *STEPS):
        connection.execute(sql)


def is_new(connection: apsw.Connection) -> bool:
    return not connection.pragma("schema_version")


def initialize(connection: apsw.Connection) -> None:
    """Makes an empty file a ledger, unless another process has just done so."""
    with write_transaction(connection):
        if is_new(connection):
            create_tables(connection)
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", VERSION)


@contextmanager
def write_transaction(connection: apsw.Connection) -> Iterator[None]:
    """Runs a short write transaction. IMMEDIATE waits for the lock; a deferred one fails at its first write."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have ended it
            connection.execute("ROLLBACK")
        raise


def rows(connection: apsw.Connection, query: str, values: tuple[str | int | None, ...] = ()) -> list[tuple[Any, ...]]:
    """Returns all rows of a query, with the types of the schema."""
    return connection.execute(query, values).fetchall()


def describe_error(error: Exception) -> str:
    """Returns what is wrong with a file, in words for an operator."""
    if isinstance(error, apsw.NotADBError):
        return "this file is not a database; move it away or name another path"
    if isinstance(error, apsw.CorruptError):
        return "the database is damaged; restore a backup"
    if isinstance(error, apsw.ReadOnlyError):
        return "the file or its folder is read-only"
    if isinstance(error, apsw.BusyError):
        return "another program has kept it locked for too long"
    if isinstance(error, apsw.CantOpenError):
        return "it cannot be opened; does the folder exist, and may this user write to it?"
    return getattr(error, "strerror", None) or str(error)
