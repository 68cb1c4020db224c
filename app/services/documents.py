"""Callers, keys, unknown rows and audit entries as JSON documents: the same from commands and over HTTP.

A caller is named by `caller`, a time ends in `_at` and is ISO 8601 in UTC, money is a decimal string of US dollars.
"""

from collections.abc import Sequence
from typing import Any

from app.services.administration import AuditEntry, CallerRecord, KeyRecord
from app.services.reconciliation import UnknownRequest
from app.services.usage import BudgetStatus
from app.units import iso_time, optional_iso_time, seconds_of, usd_text


def caller_document(record: CallerRecord, budget_statuses: Sequence[BudgetStatus], at_ms: int) -> dict[str, Any]:
    """A caller with no key in it."""
    return {
        "caller": record.name,
        "origin": record.origin.value,
        "created_at": optional_iso_time(record.created_ms),
        "terms": record.policy.document(),
        "keys": [key_document(key, at_ms) for key in record.keys],
        "budgets": [each.as_json() for each in budget_statuses],
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


def unknown_document(row: UnknownRequest) -> dict[str, Any]:
    return {
        "id": row.id,
        "caller": row.caller,
        "model": row.model,
        "admitted_at": iso_time(row.admitted_ms),
        "error": row.error,
        "held_usd": usd_text(row.charge.cost),
        "held_seconds": seconds_of(row.charge.audio),
        "upstream_request_id": row.upstream_request_id,
    }
