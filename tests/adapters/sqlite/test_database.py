"""Opening the file: it is created if missing, and every fault is reported in one line."""

import multiprocessing
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import apsw
import pytest

from app.adapters.sqlite import Database, LedgerReader, LedgerWriter
from app.adapters.sqlite.connection import write_transaction
from app.adapters.sqlite.maintenance.reconciliation import _UNKNOWN
from app.adapters.sqlite.schema import APPLICATION_ID, VERSION
from app.adapters.sqlite.statements import CLOSE_ORPHANS
from app.adapters.sqlite.usage_reports import _HELD, usage_query
from app.policy.caller_policy import Tags
from app.services.ports import LedgerUnusable
from app.services.usage import Grouping

NOBODY = 65534


def refused(database: Database) -> str:
    """The words of the refusal: one line that names the file."""
    with pytest.raises(LedgerUnusable) as caught:
        database.connect()
    words = str(caught.value)
    assert words.startswith(f"ledger {database.path}: ")
    assert "\n" not in words
    return words.removeprefix(f"ledger {database.path}: ")


def test_a_new_ledger_gets_folder_tables_and_application_id(tmp_path: Path) -> None:
    database = Database(tmp_path / "new" / "folder" / "ledger.db")
    with closing(database.connect()) as connection:
        assert connection.pragma("application_id") == APPLICATION_ID
        assert connection.pragma("user_version") == VERSION
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("synchronous") == 2
        assert connection.pragma("foreign_keys") == 1
        assert connection.execute("SELECT count(*) FROM requests").get == 0


def test_processes_create_the_same_ledger_at_once(tmp_path: Path) -> None:
    """SQLite does not wait for a lock when it changes to write-ahead logging."""

    def make(path: Path, start: threading.Barrier) -> None:
        start.wait(30)
        with closing(Database(path).connect()) as connection:
            assert connection.pragma("user_version") == VERSION

    with ThreadPoolExecutor(6) as threads:
        for number in range(20):
            start = threading.Barrier(6)
            for each in [threads.submit(make, tmp_path / f"{number}.db", start) for _ in range(6)]:
                each.result()


def test_a_ledger_keeps_its_rows_between_connections(database: Database) -> None:
    with closing(database.connect()) as connection:
        connection.execute("INSERT INTO callers VALUES ('alice', '{}', 1)")
    with closing(database.connect()) as connection:
        assert connection.execute("SELECT name FROM callers").get == "alice"
        assert connection.pragma("synchronous") == 1


def test_another_database_is_refused_unchanged(database: Database) -> None:
    with closing(sqlite3.connect(database.path)) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
        other.commit()
    assert refused(database) == "this is another program's database; name another path"
    with closing(sqlite3.connect(database.path)) as other:
        assert [row[0] for row in other.execute("SELECT name FROM sqlite_schema")] == ["recipes"]
        assert other.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_database_with_another_application_id_is_refused_unchanged(database: Database) -> None:
    with closing(sqlite3.connect(database.path)) as other:
        other.execute("PRAGMA application_id = 77")
        other.execute("CREATE TABLE recipes (name TEXT)")
        other.commit()
    assert "another program's" in refused(database)


@pytest.mark.parametrize("content", [b"caller,cost\nalice,1\n" * 100, os.urandom(8192)], ids=["text", "noise"])
def test_a_file_that_is_no_database_is_refused_unchanged(database: Database, content: bytes) -> None:
    database.path.write_bytes(content)
    assert refused(database) == "this file is not a database; move it away or name another path"
    assert database.path.read_bytes() == content


def test_a_newer_ledger_is_refused_unchanged(database: Database) -> None:
    with closing(database.connect()) as connection:
        connection.pragma("user_version", VERSION + 1)
    assert refused(database) == f"made by a newer gateway (schema {VERSION + 1}); upgrade this one"


def test_a_file_system_without_write_ahead_logging_is_refused(database: Database) -> None:
    """SQLite's own access to file systems without shared memory, such as network shares."""
    usual = apsw.vfs_names()[0]
    apsw.set_default_vfs("unix-dotfile")
    try:
        words = refused(database)
    finally:
        apsw.set_default_vfs(usual)
    assert words == (
        "its file system cannot do write-ahead logging (the journal mode stays delete); name a path on a local disk"
    )


def test_a_damaged_schema_is_reported(database: Database) -> None:
    with closing(database.connect()) as connection:
        pages = connection.pragma("page_count")
    content = bytearray(database.path.read_bytes())
    content[200 : 4096 * pages] = os.urandom(4096 * pages - 200)
    database.path.write_bytes(content)
    assert refused(database) == "the database is damaged; restore a backup"


def test_a_damaged_page_is_reported_when_it_is_read(database: Database) -> None:
    with closing(database.connect()) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'callers'").get
    with database.path.open("r+b") as file:
        file.seek(4096 * (root - 1))
        file.write(os.urandom(4096))
    with pytest.raises(LedgerUnusable) as caught, database.session() as connection:
        connection.execute("SELECT * FROM callers").fetchall()
    assert str(caught.value) == f"ledger {database.path}: the database is damaged; restore a backup"


@pytest.mark.parametrize("table", ["resolutions", "requests_held"])
def test_a_damaged_page_is_reported_before_the_gateway_serves(database: Database, table: str) -> None:
    with closing(database.connect()) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).get
    with database.path.open("r+b") as file:
        file.seek(4096 * (root - 1))
        file.write(os.urandom(4096))
    with pytest.raises(LedgerUnusable, match="the database is damaged; restore a backup"):
        begin(database)


def begin(database: Database) -> None:
    LedgerReader(database)
    LedgerWriter(database).open()


def test_a_folder_that_is_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert "exists" in refused(Database(tmp_path / "data" / "ledger.db"))


def test_a_path_that_is_a_folder_is_reported(database: Database) -> None:
    database.path.mkdir()
    assert refused(database) == "it cannot be opened; does the folder exist, and may this user write to it?"


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """A folder that all users can read and only root can write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield folder
        folder.chmod(0o755)


@pytest.mark.parametrize("exists", [True, False], ids=["a ledger", "no ledger yet"])
def test_a_folder_without_write_permission_is_reported(read_only_folder: Path, exists: bool) -> None:
    database = Database(read_only_folder / "ledger.db")
    if exists:
        database.connect().close()
        database.path.chmod(0o444)
    read_only_folder.chmod(0o555)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=report_as_nobody, args=(database, theirs))
    process.start()
    words = ours.recv()
    process.join()
    assert words.startswith(f"ledger {database.path}: ")
    assert "read-only" in words or "may this user write to it?" in words
    assert "\n" not in words


def report_as_nobody(database: Database, pipe: Connection) -> None:
    """Sends the error that a user without rights gets; runs in a separate process."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        database.connect()
    except LedgerUnusable as error:
        pipe.send(str(error))
    else:
        pipe.send("it was opened")


def test_one_gateway_serves_from_a_ledger(database: Database) -> None:
    with database.lock():
        with pytest.raises(LedgerUnusable) as caught:
            database.lock()
        assert str(caught.value) == f"ledger {database.path}: another gateway is serving from it"
    with database.lock():
        database.connect().close()


def test_a_lock_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(LedgerUnusable, match=r"ledger .*: File exists"):
        Database(tmp_path / "data" / "ledger.db").lock()


def test_a_failed_transaction_is_rolled_back(database: Database) -> None:
    def fail() -> None:
        with write_transaction(connection):
            connection.execute("INSERT INTO callers VALUES ('alice', '{}', 1)")
            raise LookupError

    with closing(database.connect()) as connection:
        with pytest.raises(LookupError):
            fail()
        assert not connection.in_transaction
        assert connection.execute("SELECT count(*) FROM callers").get == 0


def test_a_full_disk_is_reported(database: Database) -> None:
    with closing(database.connect()) as connection:
        connection.pragma("max_page_count", connection.pragma("page_count"))
        with pytest.raises(apsw.FullError), write_transaction(connection):
            connection.execute("INSERT INTO callers VALUES (?, ?, 1)", ("alice", "x" * 100_000))
        connection.pragma("max_page_count", 1_000)
        with write_transaction(connection):
            connection.execute("INSERT INTO callers VALUES (?, ?, 1)", ("alice", "x" * 100_000))


@pytest.mark.parametrize("query", [_HELD, _UNKNOWN, CLOSE_ORPHANS], ids=["held", "unknown", "orphans"])
def test_open_rows_are_found_by_index(database: Database, query: str) -> None:
    with closing(database.connect()) as connection:
        values = ("x",) * query.count("?")
        plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    assert plan
    assert all("USING INDEX requests_held" in step or "USING INDEX requests_unknown" in step for step in plan), plan


@pytest.mark.parametrize("grouping", Grouping)
@pytest.mark.parametrize("tags", [(), (("team", "search"),)], ids=["all", "tagged"])
def test_a_report_of_one_caller_uses_an_index(database: Database, grouping: Grouping, tags: Tags) -> None:
    query = usage_query(grouping, True, tags)
    values = dict.fromkeys(("begin", "end", "first", "last", "caller", "key0", "value0"), 1)
    with closing(database.connect()) as connection:
        plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    table = "requests" if tags or grouping is Grouping.TAG else "daily"
    (step,) = [step for step in plan if step.startswith(("SEARCH", "SCAN")) and table in step]
    assert step.startswith("SEARCH")
    assert "(caller=? AND " in step
