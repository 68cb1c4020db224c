"""The repository of callers, keys and the audit log. Every change and its audit entry are one short transaction."""

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager

import apsw

from app.adapters.sqlite.connection import rows, write_transaction
from app.adapters.sqlite.usage_reports import budget_statuses
from app.clock import now_ms
from app.gateway.caller import Key
from app.policy.budget import Budget
from app.policy.caller_policy import CallerPolicy
from app.services.callers import AuditEntry, CallerRecord, Document, KeyRecord
from app.services.usage import BudgetStatus

_KEYS = """
SELECT id, last4, created_ms, expires_ms, revoked_ms,
       (SELECT max(last_ms) FROM daily WHERE caller = keys.caller AND key_id = keys.id)
FROM keys WHERE caller = ? ORDER BY created_ms, id
"""
_ADD_KEY = "INSERT INTO keys (id, caller, sha256, last4, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?)"
_AUDIT = "INSERT INTO audit (at_ms, actor, action, subject, before, after) VALUES (?, ?, ?, ?, ?, ?)"


class SqliteCallers:
    """Implements `CallerRepository`."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def transaction(self) -> AbstractContextManager[None]:
        return write_transaction(self._connection)

    def all(self) -> list[CallerRecord]:
        return [
            self._record(*row)
            for row in rows(self._connection, "SELECT name, terms, created_ms FROM callers ORDER BY name")
        ]

    def get(self, name: str) -> CallerRecord | None:
        row = self._connection.execute("SELECT name, terms, created_ms FROM callers WHERE name = ?", (name,)).get
        return None if row is None else self._record(*row)

    def create(self, key: Key, last4: str, entry: AuditEntry) -> bool:
        self._connection.execute(
            "INSERT INTO callers (name, terms, created_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (key.caller, _to_json(key.policy.document()), entry.at_ms),
        )
        if not self._connection.changes():
            return False
        self._add(key, last4, entry)
        return True

    def change_policy(self, name: str, policy: CallerPolicy, entry: AuditEntry) -> None:
        self._connection.execute("UPDATE callers SET terms = ? WHERE name = ?", (_to_json(policy.document()), name))
        self._write(entry)

    def add_key(self, key: Key, last4: str, old_expire_ms: int, entry: AuditEntry) -> None:
        self._connection.execute(
            "UPDATE keys SET expires_ms = min(ifnull(expires_ms, ?1), ?1) WHERE caller = ?2 AND revoked_ms IS NULL",
            (old_expire_ms, key.caller),
        )
        self._add(key, last4, entry)

    def revoke(self, key_ids: tuple[str, ...], entry: AuditEntry) -> None:
        for key_id in key_ids:
            self._connection.execute("UPDATE keys SET revoked_ms = ? WHERE id = ?", (entry.at_ms, key_id))
        self._write(entry)

    def budget_statuses(self, name: str, budgets: tuple[Budget, ...]) -> list[BudgetStatus]:
        return budget_statuses(self._connection, name, budgets, now_ms())

    def audit(self, limit: int) -> list[AuditEntry]:
        entries = self._connection.execute(
            "SELECT at_ms, actor, action, subject, before, after FROM audit ORDER BY seq DESC LIMIT ?", (limit,)
        )
        return [
            AuditEntry(at_ms, actor, action, subject, _from_json(before), _from_json(after))
            for at_ms, actor, action, subject, before, after in entries
        ]

    def _add(self, key: Key, last4: str, entry: AuditEntry) -> None:
        self._connection.execute(_ADD_KEY, (key.id, key.caller, key.sha256, last4, entry.at_ms, key.expires_ms))
        self._write(entry)

    def _write(self, entry: AuditEntry) -> None:
        write_audit(self._connection, entry)

    def _record(self, name: str, policy: str, created_ms: int) -> CallerRecord:
        keys: Iterable[tuple[str, str, int, int | None, int | None, int | None]] = self._connection.execute(
            _KEYS, (name,)
        )
        return CallerRecord(
            name, CallerPolicy.read(json.loads(policy)), created_ms, tuple(KeyRecord(*row) for row in keys)
        )


def write_audit(connection: apsw.Connection, entry: AuditEntry) -> None:
    """Writes an audit entry, inside the transaction of its change."""
    connection.execute(
        _AUDIT, (entry.at_ms, entry.actor, entry.action, entry.subject, _to_json(entry.before), _to_json(entry.after))
    )


def _to_json(document: Document | None) -> str | None:
    return None if document is None else json.dumps(document)


def _from_json(text: str | None) -> Document | None:
    return None if text is None else json.loads(text)
