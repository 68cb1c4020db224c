"""A backup is complete and of one moment, while others write, and never replaces another file."""

import asyncio
import multiprocessing
import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from app.adapters.sqlite import Database
from app.adapters.sqlite.maintenance.backup import back_up
from app.adapters.sqlite.maintenance.export import disagreements
from app.gateway.ledger_rows import State
from app.services.ports import LedgerUnusable
from app.services.usage import Period
from tests.adapters.sqlite.entries import hold, record, rows, writing
from tests.adapters.sqlite.maintenance.test_export import FILL, MANY
from tests.adapters.sqlite.older import old_ledger


def filled(database: Database) -> Database:
    with closing(database.connect()) as connection:
        connection.execute(FILL)
    return database


def parts(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith((".part", "-wal", "-shm", "-journal"))]


def test_a_backup_is_one_complete_file(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            await record(writer, hold(id="req_1"))
            await record(writer, hold(id="req_2"), State.UNKNOWN)
            await writer.reserve(hold(id="req_3"))
            size = back_up(database, target)
            assert size == target.stat().st_size > 4096

    target = tmp_path / "copy.db"
    asyncio.run(scenario())
    assert [row["state"] for row in rows(target, "SELECT state FROM requests ORDER BY id")] == [
        "settled",
        "unknown",
        "held",
    ]
    assert rows(target, "PRAGMA journal_mode") == [{"journal_mode": "delete"}]
    assert target.stat().st_mode & 0o777 == 0o600
    with closing(Database(target).connect()) as connection:
        assert disagreements(connection, Period()) == []
    assert parts(tmp_path) == []


def test_a_backup_blocks_no_writer_and_shows_its_first_moment(database: Database, tmp_path: Path) -> None:
    filled(database)
    steps: list[tuple[int, int]] = []

    def told(done: int, total: int) -> None:
        steps.append((done, total))
        other.execute("INSERT INTO callers VALUES (?, '{}', 1)", (f"caller-{len(steps)}",))

    target = tmp_path / "copy.db"
    with closing(database.connect()) as other:
        back_up(database, target, told)
        assert other.execute("SELECT count(*) FROM callers").get == len(steps)
    assert rows(target, "SELECT count(*) AS n FROM callers") == [{"n": 0}]
    assert rows(target, "SELECT count(*) AS n FROM requests") == [{"n": MANY}]
    assert len(steps) > 10
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert steps[-1] == (steps[-1][1], steps[0][1])


def test_a_backup_overwrites_no_file(database: Database, tmp_path: Path) -> None:
    filled(database)
    target = tmp_path / "copy.db"
    target.write_text("mine")
    with pytest.raises(LedgerUnusable, match=r"backup .*copy\.db: this file exists already; name another"):
        back_up(database, target)
    assert target.read_text() == "mine"


def test_a_backup_overwrites_no_file_that_appears_meanwhile(database: Database, tmp_path: Path) -> None:
    filled(database)
    target = tmp_path / "copy.db"
    with pytest.raises(LedgerUnusable, match="File exists"):
        back_up(database, target, lambda done, total: (target.write_text("mine"), None)[1])
    assert target.read_text() == "mine"
    assert [name for name in parts(tmp_path) if not name.startswith("ledger.db")] == []


def test_a_killed_backup_leaves_no_target(database: Database, tmp_path: Path) -> None:
    filled(database)
    target = tmp_path / "copy.db"
    process = multiprocessing.get_context("fork").Process(target=back_up_and_die, args=(database, target))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert not target.exists()
    assert back_up(database, target) > 0


def back_up_and_die(database: Database, target: Path) -> None:
    back_up(database, target, lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done else None)


@pytest.mark.parametrize(
    ("name", "words"),
    [("missing/copy.db", "No such file or directory"), ("ledger.db", "this file exists already")],
)
def test_an_unusable_target_is_reported(database: Database, tmp_path: Path, name: str, words: str) -> None:
    filled(database)
    with pytest.raises(LedgerUnusable, match=words):
        back_up(database, tmp_path / name)


def test_a_backup_does_not_create_the_ledger(database: Database, tmp_path: Path) -> None:
    with pytest.raises(LedgerUnusable, match="there is no such file"):
        back_up(database, tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_ledger_has_no_backup(database: Database, tmp_path: Path) -> None:
    filled(database)
    with closing(database.connect()) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'requests_by_time'").get
    with database.path.open("r+b") as file:
        file.seek(4096 * (root - 1))
        file.write(os.urandom(4096))
    with pytest.raises(LedgerUnusable, match=r"backup .*copy\.db: the (ledger|database) is damaged"):
        back_up(database, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def test_a_ledger_of_an_older_gateway_can_be_copied(tmp_path: Path) -> None:
    database = old_ledger(tmp_path / "ledger.db", 1)
    back_up(database, tmp_path / "copy.db")
    assert Database(tmp_path / "copy.db").version() == 1
