"""Callers as rows of a table or of CSV."""

from decimal import ROUND_HALF_UP, Decimal

from app.cli.times import minute_text
from app.clock import now_ms
from app.policy.budget import amount_text
from app.services.callers import CallerRecord, KeyRecord
from app.services.documents import caller_document
from app.services.usage import BudgetStatus

# Columns that a narrow terminal leaves out.
OPTIONAL_COLUMNS = ("origin", "id", "last used", "expires")
OPTIONAL_BUDGET_COLUMNS = ("held",)


def table_rows(record: CallerRecord, statuses: list[BudgetStatus]) -> list[dict[str, object]]:
    """One table row per key. A caller of the settings has one row without a key."""
    return [_table_row(record, key, statuses) for key in record.keys or (None,)]


def csv_rows(record: CallerRecord, statuses: list[BudgetStatus]) -> list[dict[str, object]]:
    """One CSV row per key, with the values of the caller's JSON document."""
    document = caller_document(record, statuses, now_ms())
    names = ("id", "last4", "state", "created_at", "expires_at", "revoked_at", "last_used_at")
    keys = document.pop("keys") or [dict.fromkeys(names)]
    return [
        {
            "caller": document["caller"],
            "origin": document["origin"],
            **{("key_id" if name == "id" else name): key[name] for name in names},
            "terms": document["terms"],
            "budgets": document["budgets"],
        }
        for key in keys
    ]


def budget_rows(name: str, statuses: list[BudgetStatus]) -> list[dict[str, object]]:
    """One table row per budget."""
    return [
        {
            "caller": name,
            "budget": str(status.budget),
            "spent": amount(status.spent, status),
            "held": amount(status.held, status),
            "left": amount(status.left, status),
            "resets (UTC)": "never" if status.resets is None else status.resets.isoformat(),
        }
        for status in statuses
    ]


def amount(value: int, status: BudgetStatus) -> str:
    """The amount in the budget's unit, rounded for a table. JSON has all digits."""
    exact = Decimal(amount_text(value, status.budget.unit))
    return f"{exact.quantize(Decimal('0.000001'), ROUND_HALF_UP).normalize():f}"


def value_text(value: object) -> str:
    """A policy, or a part of it, as text."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {value_text(part)}" for name, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table_row(record: CallerRecord, key: KeyRecord | None, statuses: list[BudgetStatus]) -> dict[str, object]:
    return {
        "caller": record.name,
        "origin": record.origin,
        "id": key.id if key else "",
        "key": f"...{key.last4}" if key else "(settings)",
        "state": key.state(now_ms()) if key else "good",
        "expires": minute_text(key.expires_ms) if key else "",
        "last used": minute_text(key.last_used_ms) if key else "",
        "budget left": ", ".join(f"{amount(status.left, status)} of {status.budget}" for status in statuses),
    }
