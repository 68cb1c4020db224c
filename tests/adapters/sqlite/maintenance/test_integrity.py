"""Each rule that must hold in a ledger, and the fault where it does not."""

import os
from collections.abc import Iterator
from contextlib import closing

import apsw
import pytest

from app.adapters.sqlite import Database
from app.adapters.sqlite.maintenance.integrity import check_integrity
from app.adapters.sqlite.maintenance.pruning import prune
from app.adapters.sqlite.migration import migrate
from app.services.maintenance import IntegrityFinding
from tests.adapters.sqlite.maintenance.test_pruning import BEFORE_MS, ENTRY
from tests.adapters.sqlite.older import old_ledger

NAMES = ["file", "tables", "rows", "sums", "callers", "audit"]


@pytest.fixture
def connection(database: Database) -> Iterator[apsw.Connection]:
    """A ledger with rows in every state, some of them pruned."""
    migrate(old_ledger(database.path, 1))
    with closing(database.connect()) as connection:
        prune(connection, BEFORE_MS, ENTRY)
        yield connection


def checked(database: Database, served: bool = True, quick: bool = False) -> dict[str, IntegrityFinding]:
    with database.snapshot() as connection:
        findings = list(check_integrity(connection, served, quick, lambda done, total: None))
    assert [finding.check for finding in findings] == NAMES
    return {finding.check: finding for finding in findings}


def wrong(database: Database) -> list[str]:
    return [f"{finding.check}: {fault}" for finding in checked(database).values() for fault in finding.faults]


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize("quick", [True, False])
def test_a_consistent_ledger_has_no_faults(database: Database, quick: bool) -> None:
    assert [(finding.verdict, finding.remarks) for finding in checked(database, quick=quick).values()] == [
        ("ok", ())
    ] * 6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE requests SET done_ms = NULL WHERE id = 'req_18'", "1 rows are held and have an end, or are not held"),
        ("UPDATE requests SET closed_seq = 5 WHERE id = 'req_81'", "1 rows are held and have an end, or are not held"),
        ("UPDATE requests SET error = 'x' WHERE state = 'held'", "2 rows are held and have a status, an error"),
        ("UPDATE requests SET cost_nano_usd = 1 WHERE id = 'req_18'", "1 rows are held or released, and charged"),
        ("UPDATE requests SET audio_ms = 1 WHERE id = 'req_81'", "1 rows are held or released, and charged"),
        ("UPDATE requests SET charged_tokens = 7 WHERE id = 'req_19'", "1 rows are unknown, and not charged at their"),
        ("UPDATE requests SET error = NULL WHERE id = 'req_19'", "1 rows are unknown without an error"),
        ("UPDATE requests SET source = NULL WHERE id = 'req_17'", "1 rows are charged without a source"),
        ("UPDATE requests SET status = NULL WHERE id = 'req_17'", "1 rows have an end and no status"),
        ("UPDATE requests SET cost_nano_usd = -1 WHERE id = 'req_17'", "1 rows have a negative number"),
        ("UPDATE requests SET output_tokens = -1 WHERE id = 'req_17'", "1 rows have a negative number"),
        ("UPDATE requests SET tags = 'team=a' WHERE id = 'req_17'", "1 rows have tags that are not an object"),
        ("UPDATE requests SET tags = '[]' WHERE id = 'req_17'", "1 rows have tags that are not an object"),
    ],
)
def test_an_inconsistent_row_is_a_fault(
    database: Database, connection: apsw.Connection, change: str, words: str
) -> None:
    connection.execute(change)
    row = change.rpartition("'")[0].rpartition("'")[2]
    (fault,) = [fault for fault in wrong(database) if words in fault]
    assert fault.startswith(f"rows: {words}")
    assert fault.endswith(": req_80, req_81" if row == "held" else f": {row}")


def test_many_inconsistent_rows_are_counted_with_examples(database: Database, connection: apsw.Connection) -> None:
    connection.execute("UPDATE requests SET error = NULL WHERE state = 'unknown'")
    assert wrong(database) == ["rows: 10 rows are unknown without an error: req_04, req_08, req_11 ..."]


DAY = "2025-08-31 / key_1 / transcribe / whisper-1"


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ("UPDATE daily SET requests = 9 WHERE day = '2025-08-31' AND caller = 'alice'", [f"alice / {DAY}"]),
        ("DELETE FROM pruned WHERE day = '2025-08-31' AND caller = 'alice'", [f"alice / {DAY}"]),
        ("UPDATE pruned SET cost_nano_usd = 0 WHERE day = '2025-08-31' AND caller = 'alice'", [f"alice / {DAY}"]),
        ("DELETE FROM requests WHERE id = 'req_04'", [f"alice / {DAY}"]),
        (
            "INSERT INTO daily (caller, day, key_id, task, model, last_ms) VALUES ('e', '2025-08-31', 'k', 't', '', 1)",
            ["e / 2025-08-31 / k / t / "],
        ),
    ],
)
def test_a_total_that_differs_from_its_rows_is_found(
    database: Database, connection: apsw.Connection, change: str, faults: list[str]
) -> None:
    connection.execute(change)
    assert wrong(database) == [f"sums: the sums of {group} are not those of its rows" for group in faults]


def test_a_negative_total_is_a_fault(database: Database, connection: apsw.Connection) -> None:
    for table in ("daily", "pruned"):
        connection.execute(f"UPDATE {table} SET audio_ms = audio_ms - 99999 WHERE caller = 'alice' AND settled")
    assert "sums: the sums of alice / 2025-08-31 / key_1 in pruned are negative" in wrong(database)
    assert "sums: the sums of alice / 2025-08-31 / key_1 in daily are negative" in wrong(database)


def test_orphaned_keys_and_unreadable_policies_are_faults(database: Database, connection: apsw.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = off")
    connection.execute("DELETE FROM callers WHERE name = 'bob'")
    connection.execute("""UPDATE callers SET terms = '{"rpm": 0}' WHERE name = 'alice'""")
    assert wrong(database) == [
        "callers: the key key_2 belongs to bob, which does not exist",
        "callers: the terms of alice cannot be read: rpm: must be a whole number of 1 or more",
    ]


def test_a_gap_in_the_audit_log_is_a_fault(database: Database, connection: apsw.Connection) -> None:
    connection.execute("DROP TRIGGER audit_is_never_deleted")
    connection.execute("DELETE FROM audit WHERE seq IN (2, 3)")
    assert wrong(database) == [
        "tables: the trigger audit_is_never_deleted is missing",
        "audit: entries 2 to 3 are missing",
    ]


def test_a_clock_that_went_back_is_a_remark(database: Database, connection: apsw.Connection) -> None:
    connection.execute(
        "INSERT INTO audit (at_ms, actor, action, subject) SELECT max(at_ms) - 90000, 'a', 'b', 'c' FROM audit"
    )
    finding = checked(database)["audit"]
    assert (finding.verdict, finding.remarks) == ("note", ("entry 7 is 90 s older than the entry before it",))


def test_foreign_tables_are_a_remark(database: Database, connection: apsw.Connection) -> None:
    connection.execute("CREATE INDEX mine ON requests (model); DROP INDEX requests_by_time")
    connection.execute("CREATE INDEX requests_by_time ON requests (received_ms)")
    finding = checked(database)["tables"]
    assert finding.faults == ("the index requests_by_time has been changed",)
    assert finding.remarks == ("the index mine is not the gateway's",)


@pytest.mark.usefixtures("connection")
def test_holds_without_a_running_gateway_are_a_remark(database: Database) -> None:
    finding = checked(database, served=False)["rows"]
    assert finding.verdict == "note"
    assert finding.remarks == (
        "2 rows are held, but no gateway serves from this file; the next start makes them unknown",
    )


@pytest.mark.parametrize(("damaged", "check"), [("requests_by_caller", "file"), ("keys_by_caller", "file")])
def test_a_damaged_page_is_a_fault(database: Database, connection: apsw.Connection, damaged: str, check: str) -> None:
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (damaged,)).get
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    with database.path.open("r+b") as file:
        file.seek(4096 * (root - 1))
        file.write(os.urandom(4096))
    assert any(fault.startswith(f"{check}: ") and "\n" not in fault for fault in wrong(database))


@pytest.mark.usefixtures("connection")
def test_the_lock_shows_whether_a_gateway_serves(database: Database) -> None:
    assert not database.served
    with database.lock():
        assert database.served
    assert not database.served
