"""A copy of a ledger while others write to it: SQLite's backup in small steps, over one moment's view of the file.

In WAL mode a reader stops no writer, and its view does not change; without one, each write of another process would
make the backup begin anew. The copy is one file with no log beside it. It gets its name when it is whole and on disk.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from app.adapters.sqlite.database import Database, describe_error
from app.services.maintenance import Progress, no_progress
from app.services.ports import LedgerUnusable

PAGES = 256
PAUSE_SECONDS = 0.001  # a place for the gateway's own reads and writes


def back_up(database: Database, target: Path, progress: Progress = no_progress, *, replace: bool = False) -> int:
    """Copy a ledger of this schema or an older one to a new file; its size in bytes. LedgerUnusable, and no file then.

    `progress` receives the pages copied and the pages in total. With `replace` the file may be there already.
    """
    with _explained(target):
        taken = target.exists() and not replace
    if taken:
        raise LedgerUnusable(f"backup {target}: there is such a file already; name another")
    with database.snapshot(oldest=1) as source, _explained(target), _unnamed(target) as copy:
        if (faults := _copied(source, copy, progress)) != "ok":
            raise LedgerUnusable(f"backup {target}: the ledger is damaged ({faults}); restore an older backup")
        _give_name(copy, target, replace)
        return target.stat().st_size


def _copied(source: apsw.Connection, path: Path, progress: Progress) -> str:
    """Make the copy; "ok", or what is wrong with its pages."""
    with closing(apsw.Connection(os.fspath(path))) as copy:
        copy.pragma("synchronous", "off")  # it is synced once, when it is whole
        with copy.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(PAGES)
                progress(backup.page_count - backup.remaining, backup.page_count)
                time.sleep(PAUSE_SECONDS)
        copy.pragma("journal_mode", "delete")
        return str(copy.execute("PRAGMA quick_check(1)").get)


def _give_name(copy: Path, target: Path, replace: bool) -> None:
    """Durably, and over no file that somebody has made meanwhile."""
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
def _unnamed(target: Path) -> Iterator[Path]:
    """A file for the copy beside its target, which is gone in the end if it has not got the target's name."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(descriptor)
    copy = Path(name)
    try:
        yield copy
    finally:
        copy.unlink(missing_ok=True)


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise LedgerUnusable(f"backup {target}: {describe_error(error)}") from error
