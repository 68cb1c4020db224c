"""Ledgers of every older version migrate with all their rows; a kill leaves a complete version."""

import json
import multiprocessing
import os
import signal
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from app.adapters.sqlite import Database
from app.adapters.sqlite.maintenance.integrity import check_integrity
from app.adapters.sqlite.migration import migrate
from app.adapters.sqlite.schema import STEPS, VERSION
from app.services.ports import LedgerUnusable
from tests.adapters.sqlite.entries import rows
from tests.adapters.sqlite.older import DUMPS, old_ledger
from tests.stubs.gateway import GatewayProcess
from tests.stubs.upstream import ScriptedUpstream

OLDER = list(range(1, VERSION))
TABLES = ("requests", "daily", "refusals", "callers", "keys", "resolutions", "audit", "notices")
SCHEMA = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"

every_older = pytest.mark.parametrize("version", OLDER)


def content(path: Path) -> dict[str, list[dict[str, object]]]:
    """All that is in it; what a row has nothing in is left out, as a column that is new."""
    return {
        table: [{name: value for name, value in row.items() if value is not None} for row in found]
        for table, found in ((table, rows(path, f"SELECT * FROM {table}")) for table in TABLES)
    }


def faults(database: Database) -> list[str]:
    with database.snapshot() as connection:
        findings = check_integrity(connection, served=True, quick=False, progress=lambda done, total: None)
        return [f"{finding.check}: {fault}" for finding in findings for fault in finding.faults]


def test_every_older_version_has_a_dump() -> None:
    assert sorted(path.name for path in DUMPS.iterdir()) == sorted(f"v{version}.sql" for version in OLDER)


@every_older
def test_a_migrated_ledger_equals_a_new_one(tmp_path: Path, version: int) -> None:
    database = old_ledger(tmp_path / "ledger.db", version)
    before = content(database.path)
    assert {row["state"] for row in before["requests"]} == {"held", "settled", "released", "unknown"}
    done = migrate(database)
    assert done is not None
    assert (done.before, done.after) == (version, VERSION)
    assert content(database.path) == before
    new = Database(tmp_path / "new.db")
    new.connect().close()
    assert rows(database.path, SCHEMA) == rows(new.path, SCHEMA)
    assert faults(database) == []
    assert migrate(database) is None


@every_older
def test_migration_keeps_a_backup(tmp_path: Path, version: int) -> None:
    database = old_ledger(tmp_path / "ledger.db", version)
    before = content(database.path)
    done = migrate(database)
    assert done is not None
    assert done.backup == tmp_path / f"ledger.db.schema-{version}"
    assert content(done.backup) == before
    assert Database(done.backup).version() == version
    assert done.backup.stat().st_mode & 0o777 == 0o600


@every_older
def test_without_a_backup_nothing_is_migrated(tmp_path: Path, version: int) -> None:
    database = old_ledger(tmp_path / "ledger.db", version)
    (tmp_path / f"ledger.db.schema-{version}").mkdir()
    with pytest.raises(LedgerUnusable, match=rf"backup .*ledger\.db\.schema-{version}: "):
        migrate(database)
    assert database.version() == version
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


@every_older
def test_commands_do_not_migrate(tmp_path: Path, version: int) -> None:
    database = old_ledger(tmp_path / "ledger.db", version)
    with pytest.raises(LedgerUnusable) as caught:
        database.connect()
    assert str(caught.value) == (
        f"ledger {database.path}: made by an older gateway (schema {version}); "
        f"`audio-gateway serve` brings it to schema {VERSION} when it starts"
    )
    assert database.version() == version


@every_older
def test_a_gateway_migrates_its_ledger_and_serves(tmp_path: Path, version: int) -> None:
    old_ledger(tmp_path / "ledger.db", version)
    with ScriptedUpstream() as upstream, GatewayProcess(tmp_path, upstream.base_url) as gateway:
        assert f"the ledger was migrated from schema {version} to {VERSION}" in gateway.log.read_text()
        assert {row["state"] for row in gateway.rows()} == {"settled", "released", "unknown"}
        sums = {row["caller"]: (row["requests"], row["unknown"]) for row in gateway.usage()}
        assert sums == {"alice": (14, 5 + 2), "bob": (12, 5)}
        shown = gateway.command("keys", "show", "alice", "--format", "json")
        assert json.loads(shown.stdout)[0]["terms"]["budgets"] == ["1usd/total", "9min/month"]
    assert faults(Database(gateway.ledger)) == []


def test_a_missing_ledger_is_not_migrated(tmp_path: Path) -> None:
    assert migrate(Database(tmp_path / "ledger.db")) is None
    assert list(tmp_path.iterdir()) == []


def test_a_newer_ledger_and_another_database_are_refused(tmp_path: Path) -> None:
    newer = Database(tmp_path / "newer.db")
    with closing(newer.connect()) as connection:
        connection.pragma("user_version", VERSION + 1)
    with pytest.raises(LedgerUnusable, match=rf"made by a newer gateway \(schema {VERSION + 1}\); upgrade this one"):
        migrate(newer)
    with closing(apsw.Connection(os.fspath(tmp_path / "other.db"))) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(LedgerUnusable, match="another program's database"):
        migrate(Database(tmp_path / "other.db"))
    assert newer.version() == VERSION + 1


HALF = "CREATE TABLE half (name TEXT); INSERT INTO half SELECT id FROM requests; SELECT die();"


@pytest.mark.parametrize("whole", [0, len(STEPS)], ids=["in the first step", "in the one after the last"])
def test_a_kill_leaves_a_complete_version(tmp_path: Path, whole: int) -> None:
    database = old_ledger(tmp_path / "ledger.db", 1)
    before = content(database.path)
    process = multiprocessing.get_context("fork").Process(
        target=migrate_and_die, args=(database, (*STEPS[:whole], HALF))
    )
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert database.version() == 1 + whole
    assert rows(database.path, "SELECT name FROM sqlite_schema WHERE name = 'half'") == []
    assert content(database.path) == before
    migrate(database)
    assert database.version() == VERSION
    assert faults(database) == []


def migrate_and_die(database: Database, steps: tuple[str, ...]) -> None:
    """Runs in a process of its own, which a step kills in its middle."""

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    apsw.connection_hooks.append(lambda connection: connection.create_scalar_function("die", die))
    migrate(database, steps)
