"""JSON documents of callers, keys, unknown requests and audit entries, the same for commands and the admin API.

The field `caller` has a caller's name. A field that ends in `_at` is a time in ISO 8601, UTC. Money is a decimal string
in US dollars.
"""

from collections.abc import Sequence
from typing import Any

from app.services.callers import AuditEntry, CallerRecord, KeyRecord
from app.services.reconciliation import UnknownRequest
from app.services.usage import BudgetStatus
from app.units import iso_time, optional_iso_time, seconds_of, usd_text


def caller_document(record: CallerRecord, budget_statuses: Sequence[BudgetStatus], at_ms: int) -> dict[str, Any]:
    """Returns a caller with its keys, of which none contains a secret."""
    return {
        "caller": record.name,
        "origin": record.origin.value,
        "created_at": optional_iso_time(record.created_ms),
        "terms": record.policy.document(),
        "keys": [key_document(key, at_ms) for key in record.keys],
        "budgets": [status.as_json() for status in budget_statuses],
    }


def key_document(key: KeyRecord, at_ms: int) -> dict[str, Any]:
    return {
        "id": key.id,
        "last4": key.last4,
        "state": key.state(at_ms),
        "created_at": iso_time(key.created_ms),
        "expires_at": optional_iso_time(key.expires_ms),
        "revoked_at": optional_iso_time(key.revoked_ms),
        "last_used_at": optional_iso_time(key.last_used_ms),
    }


def audit_document(entry: AuditEntry) -> dict[str, Any]:
    return {
        "at": iso_time(entry.at_ms),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "before": entry.before,
        "after": entry.after,
    }


def unknown_document(request: UnknownRequest) -> dict[str, Any]:
    return {
        "id": request.id,
        "caller": request.caller,
        "model": request.model,
        "admitted_at": iso_time(request.admitted_ms),
        "error": request.error,
        "held_usd": usd_text(request.charge.cost),
        "held_seconds": seconds_of(request.charge.audio),
        "upstream_request_id": request.upstream_request_id,
    }
