"""Opening the ledger's file. Nothing is ever recreated or repaired in silence."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import apsw

from app.adapters.sqlite.schema import APPLICATION_ID, STEPS, TABLES, VERSION
from app.services.ports import LedgerUnusable

BUSY_TIMEOUT_MS = 5_000
FILE_MODE = 0o600
FOLDER_MODE = 0o700

# What is wrong with the place that is written to, and may pass. Every other error is that of what is written.
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


class Database:
    """One ledger file: where it is, and how durable a commit on it is."""

    def __init__(self, path: Path, synchronous: str = "full") -> None:
        self.path = path
        self._synchronous = synchronous
        self._serves = False
        self._file: os.stat_result | None = None

    def connect(self) -> apsw.Connection:
        """A connection to the ledger, made and given its tables if the file is not there yet; LedgerUnusable."""
        with self.explained((apsw.Error, OSError)):
            self.check_in_place()
            self._make_private()
            connection = apsw.Connection(os.fspath(self.path))
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            self._prepare(connection)
        return connection

    def hold_on(self) -> None:
        """From now on no other file is opened under this name, and none is made."""
        self._file = self.path.stat()

    def check_in_place(self) -> None:
        """OSError if a gateway serves from this ledger and its file is not there.

        SQLite would take the write-ahead log that still lies there for that of a new file, and throw it away.
        """
        if self._file is not None and not os.path.samestat(self.path.stat(), self._file):
            raise OSError("another file has taken its place; put it back, or restart the gateway")
        if self._file is None and not self._serves and not self.path.exists() and self.served:
            raise OSError("a gateway serves from it, and the file is gone; put it back, or stop the gateway")

    def existing(self, oldest: int = VERSION) -> apsw.Connection:
        """A connection to a ledger that is there, of this schema or one from `oldest` on, as it is; LedgerUnusable."""
        with self.explained((apsw.Error, OSError)):
            self.check_in_place()
            if not self.path.exists():
                raise LedgerUnusable(
                    f"ledger {self.path}: there is no such file; `serve` and `keys create` make it. "
                    "If the ledger is elsewhere, name it with path in [ledger] or AUDIO_GATEWAY_LEDGER__PATH"
                )
            connection = apsw.Connection(os.fspath(self.path), apsw.SQLITE_OPEN_READWRITE)
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            if _is_new(connection):
                raise LedgerUnusable(f"ledger {self.path}: the file is empty; `serve` and `keys create` fill it")
            self._refuse_strangers(connection, oldest)
            self._set_up(connection)
        return connection

    @contextmanager
    def snapshot(self, oldest: int = VERSION) -> Iterator[apsw.Connection]:
        """A ledger that is there, all of it at one moment, to be read only. Nobody who writes has to wait for it."""
        with closing(self.existing(oldest)) as connection, self.explained():
            connection.pragma("query_only", True)
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            yield connection

    @contextmanager
    def session(self, *, create: bool = False) -> Iterator[apsw.Connection]:
        """A connection for a while; LedgerUnusable for whatever goes wrong on it. With `create` a new file is made."""
        with closing(self.connect() if create else self.existing()) as connection, self.explained():
            yield connection

    @contextmanager
    def explained(self, errors: tuple[type[Exception], ...] = (apsw.Error,)) -> Iterator[None]:
        """Turn these errors into LedgerUnusable."""
        try:
            yield
        except errors as error:
            raise LedgerUnusable(f"ledger {self.path}: {reason(error)}") from error

    def lock(self) -> IO[str]:
        """The right to serve from this ledger, until the file is closed: who has it closes what others left held.

        The file holds the pid of its holder, for `holder`.
        """
        try:
            self._lock_path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
            lock = os.fdopen(_private(self._lock_path, os.O_RDWR | os.O_APPEND), "a+")
        except OSError as error:
            raise LedgerUnusable(f"ledger {self.path}: {error.strerror}") from error
        if not _locked(lock):
            lock.close()
            raise LedgerUnusable(f"ledger {self.path}: another gateway is serving from it")
        with self.explained((OSError,)):
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
        self._serves = True
        return lock

    def holder(self) -> int:
        """The pid of the gateway that serves from this ledger; LedgerUnusable if none does that can be signalled."""
        if not self.served:
            raise LedgerUnusable(f"ledger {self.path}: no gateway is serving from it")
        with self.explained((OSError,)):
            told = self._lock_path.read_text("utf-8").strip()
        if not (told.isdecimal() and _has_open(int(told), self._lock_path)):
            raise LedgerUnusable(f"ledger {self.path}: its gateway runs as another user, or in another container")
        return int(told)

    def version(self) -> int | None:
        """The schema of the file, whatever it is; None if there is none yet. LedgerUnusable."""
        with self.explained((apsw.Error, OSError)):
            if not self.path.exists():
                return None
            with closing(apsw.Connection(os.fspath(self.path), apsw.SQLITE_OPEN_READWRITE)) as connection:
                return None if _is_new(connection) else connection.pragma("user_version")

    def check_writable(self) -> int | None:
        """The schema of the file, None if there is none yet; LedgerUnusable if a gateway could not write it.

        Nothing is made or changed.
        """
        version = self.version()
        if version is None:
            self._check_folder()
            return None
        with closing(self.existing(oldest=1)) as connection, self.explained():
            connection.execute("BEGIN IMMEDIATE; ROLLBACK")
        return version

    def _check_folder(self) -> None:
        """LedgerUnusable if no file could be made at this path."""
        with self.explained((OSError,)):
            nearest = next(each for each in (self.path, *self.path.absolute().parents) if each.exists())
        if nearest == self.path:  # a file without a byte, which becomes the ledger
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
        except OSError:  # none has been there yet, or it is not for this user to see
            return False
        return False

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    def _prepare(self, connection: apsw.Connection) -> None:
        if not _is_new(connection):
            self._refuse_strangers(connection, VERSION)
        mode = _write_ahead_logging(connection)
        if mode != "wal":
            raise LedgerUnusable(
                f"ledger {self.path}: its file system cannot do write-ahead logging (the journal mode stays {mode}); "
                "name a path on a local disk"
            )
        self._set_up(connection)
        if _is_new(connection):
            _found(connection)

    def _set_up(self, connection: apsw.Connection) -> None:
        connection.pragma("synchronous", self._synchronous)
        connection.pragma("foreign_keys", True)

    def _make_private(self) -> None:
        """An empty file for this user alone where none is there; SQLite gives its other files the same mode."""
        self.path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        with suppress(OSError):  # SQLite says why it cannot be opened
            os.close(_private(self.path, os.O_RDWR | os.O_EXCL))

    def _refuse_strangers(self, connection: apsw.Connection, oldest: int) -> None:
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
    """A descriptor of this file, which is made for this user alone if it is not there."""
    return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)


def _locked(lock: IO[str]) -> bool:
    """Whether the lock could be had; a command that only looks at it, as `served` does, has it for a moment."""
    for pause in (0.1, 0.0):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause)
        else:
            return True
    return False


def _has_open(pid: int, file: Path) -> bool:
    """Whether this process has the file open. A pid of another container would be a stranger's here."""
    if not Path("/proc/self/fd").exists():  # no Linux, and no containers
        return True
    try:
        return any(each.samefile(file) for each in Path(f"/proc/{pid}/fd").iterdir() if each.exists())
    except OSError:
        return False


def _write_ahead_logging(connection: apsw.Connection) -> object:
    """The journal mode after a change to write-ahead logging.

    SQLite does not wait for a lock here, and
    two processes that make the same ledger at once would fail.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            return connection.pragma("journal_mode", "wal")
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def make_tables(connection: apsw.Connection) -> None:
    """All tables as they are now, in a database that has none."""
    for sql in (TABLES, *STEPS):
        connection.execute(sql)


def _is_new(connection: apsw.Connection) -> bool:
    return not connection.pragma("schema_version")


def _found(connection: apsw.Connection) -> None:
    """Make a new file a ledger, unless another process has just done so."""
    with immediate(connection):
        if _is_new(connection):
            make_tables(connection)
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", VERSION)


@contextmanager
def immediate(connection: apsw.Connection) -> Iterator[None]:
    """A short write transaction. IMMEDIATE waits for its turn, where a deferred one fails when it turns to writing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise


def rows(connection: apsw.Connection, query: str, values: tuple[str | int | None, ...] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query; their types are the schema's."""
    return connection.execute(query, values).fetchall()


def reason(error: Exception) -> str:
    """What is wrong with a file, in words for people."""
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
