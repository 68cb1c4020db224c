"""Callers and their keys, as rows. The gateway reads a key at every request, so a change holds from the next one on."""

import json
from dataclasses import dataclass

import apsw

from app.adapters.ledger.database import Database, immediate
from app.gateway.auth import Key

_FIND = """
SELECT keys.id, keys.caller, keys.sha256, callers.models, keys.expires_ms, keys.revoked_ms IS NOT NULL
FROM keys JOIN callers ON callers.name = keys.caller WHERE keys.sha256 = ?
"""
_LIST = """
SELECT keys.id, keys.caller, keys.last4, callers.models, keys.created_ms, keys.expires_ms, keys.revoked_ms
FROM keys JOIN callers ON callers.name = keys.caller ORDER BY keys.caller, keys.created_ms
"""


class CallerExists(Exception):
    """There is a caller of this name already."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as `keys list` shows it."""

    id: str
    caller: str
    last4: str
    models: tuple[str, ...] | None
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None


class Keys:
    """The keys in the ledger, over a connection of its own."""

    def __init__(self, database: Database) -> None:
        self._connection = database.connect()

    def close(self) -> None:
        self._connection.close()

    async def find(self, sha256: str) -> Key | None:
        """The key with this SHA-256: a point query in memory-mapped pages, too short to be worth a thread."""
        row = self._connection.execute(_FIND, (sha256,)).get
        if row is None:
            return None
        key_id, caller, stored, models, expires_ms, revoked = row
        allowed = None if models is None else frozenset(json.loads(models))
        return Key(key_id, caller, stored, allowed, expires_ms, bool(revoked))

    def create(self, key: Key, last4: str, now_ms: int) -> None:
        """A new caller with its first key; CallerExists if the name is taken."""
        models = None if key.models is None else json.dumps(sorted(key.models))
        try:
            with immediate(self._connection):
                self._connection.execute(
                    "INSERT INTO callers (name, models, created_ms) VALUES (?, ?, ?)", (key.caller, models, now_ms)
                )
                self._connection.execute(
                    "INSERT INTO keys (id, caller, sha256, last4, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?)",
                    (key.id, key.caller, key.sha256, last4, now_ms, key.expires_ms),
                )
        except apsw.ConstraintError as error:
            raise CallerExists(key.caller) from error

    def revoke(self, name_or_id: str, now_ms: int) -> int:
        """Revoke a caller's keys, or the one key of this id; the number of keys that were still good."""
        with immediate(self._connection):
            self._connection.execute(
                "UPDATE keys SET revoked_ms = ? WHERE (caller = ? OR id = ?) AND revoked_ms IS NULL",
                (now_ms, name_or_id, name_or_id),
            )
            return self._connection.changes()

    def list(self) -> list[KeyRow]:
        """Every key, by caller and age."""
        rows = self._connection.execute(_LIST)
        return [
            KeyRow(key_id, caller, last4, None if models is None else tuple(json.loads(models)), *times)
            for key_id, caller, last4, models, *times in rows
        ]
