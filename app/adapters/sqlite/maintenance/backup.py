"""A backup of the ledger while others write to it: SQLite's backup in small steps, within one read transaction.

With a write-ahead log a reader blocks no writer, and its view does not change. Without the read transaction, each write
of another process would restart the backup. The copy is one file without a log. It gets its name when it is complete
and on disk.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from app.adapters.sqlite.connection import describe_error
from app.adapters.sqlite.database import Database
from app.services.maintenance import Progress, no_progress
from app.services.ports import LedgerUnusable

PAGES = 256
PAUSE_SECONDS = 0.001  # lets the gateway read and write in between


def back_up(database: Database, target: Path, progress: Progress = no_progress, *, replace: bool = False) -> int:
    """Copies a ledger, also one of an older schema, to a new file, and returns the size of the copy in bytes.

    `progress` receives the pages copied and the pages in total. With `replace` the
    target may exist. Raises LedgerUnusable, and leaves no new file.
    """
    with _errors_explained(target):
        exists = target.exists() and not replace
    if exists:
        raise LedgerUnusable(f"backup {target}: this file exists already; name another")
    with database.snapshot(oldest=1) as source, _errors_explained(target), _temporary_file(target) as copy:
        if (result := _copy_pages(source, copy, progress)) != "ok":
            raise LedgerUnusable(f"backup {target}: the ledger is damaged ({result}); restore an older backup")
        _publish(copy, target, replace)
        return target.stat().st_size


def _copy_pages(source: apsw.Connection, path: Path, progress: Progress) -> str:
    """Copies the pages, and returns "ok" or what is wrong with them."""
    with closing(apsw.Connection(os.fspath(path))) as copy:
        copy.pragma("synchronous", "off")  # `_publish` syncs it once
        with copy.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(PAGES)
                progress(backup.page_count - backup.remaining, backup.page_count)
                time.sleep(PAUSE_SECONDS)
        copy.pragma("journal_mode", "delete")
        return str(copy.execute("PRAGMA quick_check(1)").get)


def _publish(copy: Path, target: Path, replace: bool) -> None:
    """Gives the copy its name, durably, and without `replace` over no file that appeared meanwhile."""
    _sync(copy)
    if replace:
        copy.replace(target)
    else:
        try:
            target.hardlink_to(copy)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            copy.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _temporary_file(target: Path) -> Iterator[Path]:
    """Creates a file beside the target, and removes it at the end unless it was renamed."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(descriptor)
    copy = Path(name)
    try:
        yield copy
    finally:
        copy.unlink(missing_ok=True)


@contextmanager
def _errors_explained(target: Path) -> Iterator[None]:
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise LedgerUnusable(f"backup {target}: {describe_error(error)}") from error
