"""Callers and keys in the ledger: every change has an audit entry, and no key is stored."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import apsw
import pytest

from app.adapters.sqlite import Database, LedgerReader, SqliteCallers
from app.clock import now_ms
from app.gateway.caller import Key
from app.policy.caller_policy import CallerPolicy
from app.services.administration import Administration, AdministrationError, AdministrationFault
from app.services.callers import AuditEntry
from app.units import iso_time
from app.wire import apikey
from tests.adapters.sqlite.entries import NOON_MS, hold, record, rows, writing

MODELS = frozenset({"whisper-1", "gpt-transcribe"})
ALL_TERMS: dict[str, Any] = {
    "models": ["whisper-1"],
    "tasks": ["transcribe"],
    "rpm": 60,
    "burst": 10,
    "concurrency": 8,
    "budgets": ["50usd/month", "600min/day", "1000000tokens/week"],
    "tags": {"team": "search"},
}
HOUR_MS = 3_600_000
FAR_MS = 4_000_000_000_000
CONFIGURED = CallerPolicy.read({"rpm": 5})


@pytest.fixture
def connection(database: Database) -> Iterator[apsw.Connection]:
    with closing(database.connect()) as connection:
        yield connection


@pytest.fixture
def book(connection: apsw.Connection) -> SqliteCallers:
    return SqliteCallers(connection)


@pytest.fixture
def administration(book: SqliteCallers) -> Administration:
    return Administration(book, MODELS, {"configured": CONFIGURED}, "cli:root")


def find_key(database: Database, secret: str) -> Key | None:
    """What a running gateway finds under this key."""
    reader = LedgerReader(database)
    try:
        return asyncio.run(reader.find(apikey.digest(secret)))
    finally:
        reader.close()


def test_a_new_caller_is_found_by_the_hash_of_the_key(database: Database, administration: Administration) -> None:
    secret = administration.create("alice", ALL_TERMS, NOON_MS)
    key = find_key(database, secret)
    assert key is not None
    assert (key.caller, key.policy, key.expires_ms, key.revoked) == (
        "alice",
        CallerPolicy.read(ALL_TERMS),
        NOON_MS,
        False,
    )
    assert key.sha256 == apikey.digest(secret)
    assert find_key(database, apikey.mint(bytes(24))) is None


def test_every_change_has_an_audit_entry(administration: Administration, book: SqliteCallers) -> None:
    administration.create("alice", ALL_TERMS)
    administration.update("alice", {"rpm": 30, "budgets": None})
    administration.rotate("alice", HOUR_MS)
    old, new = sorted(administration.caller("alice").keys, key=lambda key: key.expires_ms is None)
    administration.revoke(old.id)
    administration.revoke("alice")
    entries = book.audit(100)
    assert {entry.actor for entry in entries} == {"cli:root"}
    assert [entry.at_ms for entry in entries] == sorted((entry.at_ms for entry in entries), reverse=True)
    changed = {part: value for part, value in ALL_TERMS.items() if part != "budgets"} | {"rpm": 30}
    rotated = entries[2]
    assert rotated.after is not None
    assert [summary(entry) for entry in entries] == [
        ("revoke", "alice", {"keys": [new.id]}, None),
        ("revoke", old.id, {"keys": [old.id]}, None),
        (
            "rotate",
            "alice",
            {"good_keys": [old.id]},
            {"key_id": new.id, "old_keys_expire_at": iso_time(rotated.at_ms + HOUR_MS)},
        ),
        ("update", "alice", ALL_TERMS, changed),
        ("create", "alice", None, {**ALL_TERMS, "key_id": old.id}),
    ]
    assert book.audit(2) == entries[:2]


def summary(entry: AuditEntry) -> tuple[str, str, object, object]:
    return entry.action, entry.subject, entry.before, entry.after


def test_a_change_without_an_audit_entry_is_rolled_back(
    connection: apsw.Connection, administration: Administration
) -> None:
    administration.create("alice", {"rpm": 1})
    before = administration.caller("alice")
    connection.execute("ALTER TABLE audit RENAME TO lost")
    for change in (
        lambda: administration.create("bob", {}),
        lambda: administration.update("alice", {"rpm": 2}),
        lambda: administration.rotate("alice", 0),
        lambda: administration.revoke("alice"),
    ):
        with pytest.raises(apsw.SQLError):
            change()
        assert not connection.in_transaction
    assert [each for each in administration.callers() if each.name == "alice"] == [before]


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"])
def test_the_audit_log_is_append_only(
    connection: apsw.Connection, administration: Administration, book: SqliteCallers, statement: str
) -> None:
    administration.create("alice", {})
    before = book.audit(10)
    with pytest.raises(apsw.ConstraintError, match="append-only"):
        connection.execute(statement)
    assert book.audit(10) == before
    assert len(before) == 1


def test_the_file_contains_no_key(database: Database, administration: Administration) -> None:
    keys = [administration.create(f"caller-{number}", ALL_TERMS) for number in range(5)]
    keys += [administration.rotate(f"caller-{number}", HOUR_MS).secret for number in range(5)]
    files = list(database.path.parent.glob("ledger.db*"))
    content = b"".join(file.read_bytes() for file in files)
    assert apikey.digest(keys[0]).encode() in content
    for key in keys:
        assert key.encode() not in content
        assert key[len(apikey.PREFIX) : -4].encode() not in content


@pytest.mark.parametrize(
    ("name", "document", "fault", "named"),
    [
        ("alice", {}, AdministrationFault.CONFLICT, "alice"),
        ("configured", {}, AdministrationFault.CONFLICT, "configured"),
        ("a b", {}, AdministrationFault.INVALID, "name"),
        ("", {}, AdministrationFault.INVALID, "name"),
        ("bob", {"rpm": 0}, AdministrationFault.INVALID, "rpm"),
        ("bob", {"models": ["gpt-9"]}, AdministrationFault.INVALID, "gpt-9"),
        ("bob", {"budgets": ["5eur"]}, AdministrationFault.INVALID, "5eur"),
    ],
)
def test_an_invalid_caller_is_not_created(
    administration: Administration,
    book: SqliteCallers,
    name: str,
    document: dict[str, Any],
    fault: AdministrationFault,
    named: str,
) -> None:
    administration.create("alice", {})
    with pytest.raises(AdministrationError, match=named) as caught:
        administration.create(name, document)
    assert caught.value.fault is fault
    assert [record.name for record in book.all()] == ["alice"]
    assert len(book.audit(10)) == 1


def test_changes_of_a_missing_caller_fail(administration: Administration) -> None:
    for change in (
        lambda: administration.caller("bob"),
        lambda: administration.update("bob", {"rpm": 1}),
        lambda: administration.rotate("bob", 0),
        lambda: administration.revoke("bob"),
    ):
        with pytest.raises(AdministrationError, match="bob") as caught:
            change()
        assert caught.value.fault is AdministrationFault.MISSING


def test_revoked_keys_cannot_be_revoked_again(administration: Administration) -> None:
    administration.create("alice", {})
    assert len(administration.revoke("alice")) == 1
    with pytest.raises(AdministrationError):
        administration.revoke("alice")


def test_old_keys_expire_with_the_overlap_or_earlier(database: Database, administration: Administration) -> None:
    soon = administration.create("alice", {}, expires_ms=1)
    later = administration.rotate("alice", 10 * HOUR_MS, expires_ms=FAR_MS)
    newest = administration.rotate("alice", HOUR_MS, expires_ms=FAR_MS)
    secrets = (soon, later.secret, newest.secret)
    ends = [key.expires_ms if (key := find_key(database, secret)) else None for secret in secrets]
    rotated = administration.caller("alice").keys[-1].created_ms
    assert ends == [1, rotated + HOUR_MS, FAR_MS]
    assert later.ending == ()
    assert [(key.last4, key.expires_ms) for key in newest.ending] == [(later.secret[-4:], rotated + HOUR_MS)]


@pytest.mark.parametrize("lifetime", [90 * 24 * HOUR_MS, None], ids=["90 days", "endless"])
def test_a_new_key_has_the_lifetime_of_the_newest_key(administration: Administration, lifetime: int | None) -> None:
    administration.create("alice", {}, None if lifetime is None else now_ms() + lifetime)
    for _ in range(3):
        ends = administration.rotate("alice", HOUR_MS).expires_ms
        if lifetime is None:
            assert ends is None
        else:
            assert ends == pytest.approx(now_ms() + lifetime, abs=60_000)


def test_rotation_revives_a_revoked_caller_only_on_demand(book: SqliteCallers, administration: Administration) -> None:
    administration.create("alice", {})
    administration.revoke("alice")
    before = book.audit(10)
    with pytest.raises(AdministrationError, match="--revive"):
        administration.rotate("alice", HOUR_MS)
    assert book.audit(10) == before
    assert administration.rotate("alice", HOUR_MS, revive=True).ending == ()
    states = [key.state(now_ms()) for key in administration.caller("alice").keys]
    assert sorted(states) == ["good", "revoked"]  # keys of the same millisecond have no order


def test_an_expired_caller_gets_a_new_key(administration: Administration) -> None:
    administration.create("alice", {}, expires_ms=now_ms() - 1)
    assert administration.rotate("alice", HOUR_MS, expires_ms=FAR_MS).expires_ms == FAR_MS


def test_concurrent_changes_lose_nothing(database: Database) -> None:
    parts: list[dict[str, Any]] = [{"rpm": 1}, {"concurrency": 2}, {"budgets": ["1usd"]}, {"tags": {"a": "b"}}]
    with closing(database.connect()) as connection:
        Administration(SqliteCallers(connection), MODELS, {}, "root").create("alice", {})
    for _ in range(10):
        start = threading.Barrier(len(parts))

        def change(part: dict[str, Any], start: threading.Barrier = start) -> None:
            with closing(database.connect()) as connection:
                start.wait()
                Administration(SqliteCallers(connection), MODELS, {}, "root").update("alice", part)

        threads = [threading.Thread(target=change, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with closing(database.connect()) as connection:
            administration = Administration(SqliteCallers(connection), MODELS, {}, "root")
            assert administration.caller("alice").policy.document() == {
                "rpm": 1,
                "concurrency": 2,
                "budgets": ["1usd/total"],
                "tags": {"a": "b"},
            }
            administration.update("alice", dict.fromkeys(("rpm", "concurrency", "budgets", "tags")))


def test_requests_set_when_a_key_was_last_used(database: Database, administration: Administration) -> None:
    administration.create("alice", {})
    (key,) = administration.caller("alice").keys
    assert key.last_used_ms is None

    async def use() -> None:
        async with writing(database) as writer:
            await record(writer, hold(key_id=key.id, admitted_ms=NOON_MS + 7))
            await record(writer, hold(key_id=key.id, admitted_ms=NOON_MS + 5))

    asyncio.run(use())
    assert administration.caller("alice").keys[0].last_used_ms == NOON_MS + 7


def test_the_state_of_a_key(database: Database, administration: Administration) -> None:
    administration.create("alice", {}, expires_ms=NOON_MS)
    (key,) = administration.caller("alice").keys
    assert (key.state(NOON_MS - 1), key.state(NOON_MS)) == ("good", "expired")
    administration.revoke(key.id)
    assert administration.caller("alice").keys[0].state(NOON_MS - 1) == "revoked"
    assert len(rows(database.path, "SELECT * FROM keys WHERE revoked_ms IS NOT NULL")) == 1
