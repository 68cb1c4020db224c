"""Resolving rows in state `unknown`: what the provider really did, put in by someone who has looked."""

import apsw

from app.adapters.sqlite.callers import write_audit
from app.adapters.sqlite.database import write_transaction
from app.policy.budget import NOTHING, Amounts
from app.services.administration import AuditEntry
from app.services.reconciliation import UnknownRequest

_UNKNOWN = """
SELECT id, caller, model, admitted_ms, error, cost_nano_usd, audio_ms, charged_tokens, upstream_request_id
FROM requests WHERE state = 'unknown' ORDER BY id
"""
_RESOLVE = """
UPDATE requests SET state = ?, cost_nano_usd = ?, audio_ms = ?, charged_tokens = ? WHERE id = ? AND state = 'unknown'
"""
_RECORD = """
INSERT INTO resolutions (caller, admitted_ms, cost_nano_usd, audio_ms, charged_tokens) VALUES (?, ?, ?, ?, ?)
"""


class LedgerUnknownRequests:
    """The unknown rows as they are reconciled, over a connection of its own."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def all(self) -> list[UnknownRequest]:
        """All of them, oldest first."""
        return unknown_rows(self._connection)

    def resolve(self, row: UnknownRequest, charge: Amounts | None, entry: AuditEntry) -> bool:
        return resolve(self._connection, row, charge, entry)


def unknown_rows(connection: apsw.Connection) -> list[UnknownRequest]:
    """All of them, oldest first."""
    return [
        UnknownRequest(row_id, caller, model, admitted_ms, error, Amounts(cost, audio, tokens), upstream_id)
        for row_id, caller, model, admitted_ms, error, cost, audio, tokens, upstream_id in connection.execute(_UNKNOWN)
    ]


def resolve(connection: apsw.Connection, row: UnknownRequest, charge: Amounts | None, entry: AuditEntry) -> bool:
    """Settle a row at this charge, or release it (None); False if somebody else was faster.

    A running gateway takes the change into its budgets within a second.
    """
    now = charge or NOTHING
    with write_transaction(connection):
        state = "released" if charge is None else "settled"
        connection.execute(_RESOLVE, (state, now.cost, now.audio, now.tokens, row.id))
        if not connection.changes():
            return False
        change = (now.cost - row.charge.cost, now.audio - row.charge.audio, now.tokens - row.charge.tokens)
        connection.execute(_RECORD, (row.caller, row.admitted_ms, *change))
        write_audit(connection, entry)
    return True
