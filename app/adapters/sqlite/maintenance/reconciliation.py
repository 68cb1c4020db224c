"""The repository of unknown requests: they are listed, and resolved with what the provider billed."""

import apsw

from app.adapters.sqlite.callers import write_audit
from app.adapters.sqlite.connection import write_transaction
from app.policy.budget import NOTHING, Amounts
from app.services.callers import AuditEntry
from app.services.reconciliation import UnknownRequest

_UNKNOWN = """
SELECT id, caller, model, admitted_ms, error, cost_nano_usd, audio_ms, charged_tokens, upstream_request_id
FROM requests WHERE state = 'unknown' ORDER BY id
"""
_RESOLVE = """
UPDATE requests SET state = ?, cost_nano_usd = ?, audio_ms = ?, charged_tokens = ? WHERE id = ? AND state = 'unknown'
"""
_ADD_RESOLUTION = """
INSERT INTO resolutions (caller, admitted_ms, cost_nano_usd, audio_ms, charged_tokens) VALUES (?, ?, ?, ?, ?)
"""


class SqliteUnknownRequests:
    """Implements `UnknownRequestRepository`."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def all(self) -> list[UnknownRequest]:
        return unknown_requests(self._connection)

    def resolve(self, request: UnknownRequest, charge: Amounts | None, entry: AuditEntry) -> bool:
        return resolve(self._connection, request, charge, entry)


def unknown_requests(connection: apsw.Connection) -> list[UnknownRequest]:
    """Returns all unknown requests, oldest first."""
    return [
        UnknownRequest(row_id, caller, model, admitted_ms, error, Amounts(cost, audio, tokens), upstream_id)
        for row_id, caller, model, admitted_ms, error, cost, audio, tokens, upstream_id in connection.execute(_UNKNOWN)
    ]


def resolve(connection: apsw.Connection, request: UnknownRequest, charge: Amounts | None, entry: AuditEntry) -> bool:
    """Settles a request at this charge, or releases it (None). Returns False if it is no longer unknown.

    A running gateway reads `resolutions`, and updates its budgets within a second.
    """
    charged = charge or NOTHING
    with write_transaction(connection):
        state = "released" if charge is None else "settled"
        connection.execute(_RESOLVE, (state, charged.cost, charged.audio, charged.tokens, request.id))
        if not connection.changes():
            return False
        change = (
            charged.cost - request.charge.cost,
            charged.audio - request.charge.audio,
            charged.tokens - request.charge.tokens,
        )
        connection.execute(_ADD_RESOLUTION, (request.caller, request.admitted_ms, *change))
        write_audit(connection, entry)
    return True
