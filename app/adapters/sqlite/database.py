"""The ledger's file: opening it, and its lock. Nothing is recreated or repaired without a message."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO

import apsw

from app.adapters.sqlite.connection import BUSY_TIMEOUT_MS, describe_error, enable_write_ahead_log, initialize, is_new
from app.adapters.sqlite.schema import APPLICATION_ID, VERSION
from app.services.ports import LedgerUnusable

FILE_MODE = 0o600
FOLDER_MODE = 0o700


class Database:
    """One ledger file, and how durable a commit in it is (`synchronous` of SQLite)."""

    def __init__(self, path: Path, synchronous: str = "full") -> None:
        self.path = path
        self._synchronous = synchronous
        self._serves = False
        self._file: os.stat_result | None = None

    def connect(self) -> apsw.Connection:
        """Returns a connection, and creates the file and its tables if they do not exist. Raises LedgerUnusable."""
        with self.errors_explained((apsw.Error, OSError)):
            self.check_in_place()
            self._make_private()
            connection = apsw.Connection(os.fspath(self.path))
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            self._prepare(connection)
        return connection

    def pin_file(self) -> None:
        """From now on refuses every other file under this name, and creates none."""
        self._file = self.path.stat()

    def check_in_place(self) -> None:
        """Raises OSError if a gateway serves from this ledger and its file was moved or replaced.

        SQLite would apply the remaining write-ahead log to the new file, or delete it.
        """
        if self._file is not None and not os.path.samestat(self.path.stat(), self._file):
            raise OSError("another file is in its place; put the ledger back, or restart the gateway")
        if self._file is None and not self._serves and not self.path.exists() and self.served:
            raise OSError("a gateway serves from it, and the file is gone; put it back, or stop the gateway")

    def open_existing(self, oldest: int = VERSION) -> apsw.Connection:
        """Returns a connection to an existing ledger with a schema from `oldest` on. Raises LedgerUnusable."""
        with self.errors_explained((apsw.Error, OSError)):
            self.check_in_place()
            if not self.path.exists():
                raise LedgerUnusable(
                    f"ledger {self.path}: there is no such file; `serve` and `keys create` create it. "
                    "If the ledger is elsewhere, name it with path in [ledger] or AUDIO_GATEWAY_LEDGER__PATH"
                )
            connection = apsw.Connection(os.fspath(self.path), apsw.SQLITE_OPEN_READWRITE)
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            if is_new(connection):
                raise LedgerUnusable(f"ledger {self.path}: the file is empty; `serve` and `keys create` fill it")
            self._refuse_foreign_file(connection, oldest)
            self._set_up(connection)
        return connection

    @contextmanager
    def snapshot(self, oldest: int = VERSION) -> Iterator[apsw.Connection]:
        """Opens a read-only connection that sees the ledger at one moment. It blocks no writer."""
        with closing(self.open_existing(oldest)) as connection, self.errors_explained():
            connection.pragma("query_only", True)
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            yield connection

    @contextmanager
    def session(self, *, create: bool = False) -> Iterator[apsw.Connection]:
        """Opens a connection whose errors become LedgerUnusable. With `create` it creates a missing file."""
        with closing(self.connect() if create else self.open_existing()) as connection, self.errors_explained():
            yield connection

    @contextmanager
    def errors_explained(self, errors: tuple[type[Exception], ...] = (apsw.Error,)) -> Iterator[None]:
        """Turns these errors into LedgerUnusable."""
        try:
            yield
        except errors as error:
            raise LedgerUnusable(f"ledger {self.path}: {describe_error(error)}") from error

    def lock(self) -> IO[str]:
        """Takes the exclusive right to serve from this ledger, until the returned file is closed.

        The file contains the process id of its holder. Raises LedgerUnusable if another gateway has the lock.
        """
        try:
            self._lock_path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
            lock = os.fdopen(_private(self._lock_path, os.O_RDWR | os.O_APPEND), "a+")
        except OSError as error:
            raise LedgerUnusable(f"ledger {self.path}: {error.strerror}") from error
        if not _try_lock(lock):
            lock.close()
            raise LedgerUnusable(f"ledger {self.path}: another gateway is serving from it")
        with self.errors_explained((OSError,)):
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
        self._serves = True
        return lock

    def holder(self) -> int:
        """Returns the process id of the gateway that serves. Raises LedgerUnusable if this user cannot signal one."""
        if not self.served:
            raise LedgerUnusable(f"ledger {self.path}: no gateway is serving from it")
        with self.errors_explained((OSError,)):
            pid = self._lock_path.read_text("utf-8").strip()
        if not (pid.isdecimal() and _has_open(int(pid), self._lock_path)):
            raise LedgerUnusable(f"ledger {self.path}: its gateway runs as another user, or in another container")
        return int(pid)

    def version(self) -> int | None:
        """Returns the schema version of the file, None if it does not exist or is empty. Raises LedgerUnusable."""
        with self.errors_explained((apsw.Error, OSError)):
            if not self.path.exists():
                return None
            with closing(apsw.Connection(os.fspath(self.path), apsw.SQLITE_OPEN_READWRITE)) as connection:
                return None if is_new(connection) else connection.pragma("user_version")

    def check_writable(self) -> int | None:
        """Returns the schema version, None without a ledger, if a gateway could write it; else raises LedgerUnusable.

        It creates and changes nothing.
        """
        version = self.version()
        if version is None:
            self._check_folder()
            return None
        with closing(self.open_existing(oldest=1)) as connection, self.errors_explained():
            connection.execute("BEGIN IMMEDIATE; ROLLBACK")
        return version

    def _check_folder(self) -> None:
        """Raises LedgerUnusable if a gateway could not create a file at this path."""
        with self.errors_explained((OSError,)):
            nearest = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
        if nearest == self.path:  # an empty file, which becomes the ledger
            fault = None if os.access(nearest, os.W_OK) else "this user may not write to it"
        elif not nearest.is_dir():
            fault = f"{nearest} is a file, not a folder"
        else:
            fault = None if os.access(nearest, os.W_OK | os.X_OK) else f"this user may not write to {nearest}"
        if fault is not None:
            raise LedgerUnusable(f"ledger {self.path}: {fault}; change its mode, or name another path")

    @property
    def served(self) -> bool:
        """Whether a gateway has the lock now."""
        try:
            with self._lock_path.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # no lock file yet, or this user cannot read it
            return False
        return False

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    def _prepare(self, connection: apsw.Connection) -> None:
        if not is_new(connection):
            self._refuse_foreign_file(connection, VERSION)
        mode = enable_write_ahead_log(connection)
        if mode != "wal":
            raise LedgerUnusable(
                f"ledger {self.path}: its file system cannot do write-ahead logging (the journal mode stays {mode}); "
                "name a path on a local disk"
            )
        self._set_up(connection)
        if is_new(connection):
            initialize(connection)

    def _set_up(self, connection: apsw.Connection) -> None:
        connection.pragma("synchronous", self._synchronous)
        connection.pragma("foreign_keys", True)

    def _make_private(self) -> None:
        """Creates an empty file that only this user can read. SQLite gives its other files the same mode."""
        self.path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        with suppress(OSError):  # SQLite reports why it cannot be opened
            os.close(_private(self.path, os.O_RDWR | os.O_EXCL))

    def _refuse_foreign_file(self, connection: apsw.Connection, oldest: int) -> None:
        version, owner = connection.pragma("user_version"), connection.pragma("application_id")
        if owner != APPLICATION_ID:
            raise LedgerUnusable(f"ledger {self.path}: this is another program's database; name another path")
        if version > VERSION:
            raise LedgerUnusable(f"ledger {self.path}: made by a newer gateway (schema {version}); upgrade this one")
        if version < oldest:
            raise LedgerUnusable(
                f"ledger {self.path}: made by an older gateway (schema {version}); "
                f"`audio-gateway serve` brings it to schema {VERSION} when it starts"
            )


def _private(path: Path, flags: int) -> int:
    """Returns a descriptor of this file, and creates it for this user alone if it does not exist."""
    return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)


def _try_lock(lock: IO[str]) -> bool:
    """Takes the lock and returns whether it succeeded. A second try passes over a command that tests the lock."""
    for pause in (0.1, 0.0):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause)
        else:
            return True
    return False


def _has_open(pid: int, file: Path) -> bool:
    """Whether this process has the file open. A process id of another container means another process here."""
    if not Path("/proc/self/fd").exists():  # not Linux, so no containers
        return True
    try:
        return any(entry.samefile(file) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.exists())
    except OSError:
        return False
