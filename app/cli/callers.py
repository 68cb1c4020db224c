"""Callers as the commands show them: a line a key for people, a line a key with whole times and ids for CSV."""

from decimal import ROUND_HALF_UP, Decimal

from app.cli.times import minute
from app.clock import now_ms
from app.policy.budget import amount_text
from app.services.administration import CallerRecord, KeyRecord
from app.services.documents import caller_document
from app.services.usage import BudgetStatus

SPARE = ("origin", "id", "last used", "expires")  # columns of `lines` that a narrow terminal does without
BUDGETS_SPARE = ("held",)


def lines(record: CallerRecord, stand: list[BudgetStatus]) -> list[dict[str, object]]:
    """A line a key; one without a key for a caller of the settings."""
    return [_line(record, key, stand) for key in record.keys or (None,)]


def flat(record: CallerRecord, stand: list[BudgetStatus]) -> list[dict[str, object]]:
    """The same for CSV: the document of the caller, a line for each key."""
    document = caller_document(record, stand, now_ms())
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


def budget_lines(name: str, stand: list[BudgetStatus]) -> list[dict[str, object]]:
    """A line of a table for each budget."""
    return [
        {
            "caller": name,
            "budget": str(each.budget),
            "spent": amount(each.spent, each),
            "held": amount(each.held, each),
            "left": amount(each.left, each),
            "resets (UTC)": "never" if each.resets is None else each.resets.isoformat(),
        }
        for each in stand
    ]


def amount(value: int, status: BudgetStatus) -> str:
    """An amount in the budget's unit, short enough for a table: JSON has all digits."""
    exact = Decimal(amount_text(value, status.budget.unit))
    return f"{exact.quantize(Decimal('0.000001'), ROUND_HALF_UP).normalize():f}"


def plain(value: object) -> str:
    """Terms, or a part of them, in words."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(each)}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _line(record: CallerRecord, key: KeyRecord | None, stand: list[BudgetStatus]) -> dict[str, object]:
    return {
        "caller": record.name,
        "origin": record.origin,
        "id": key.id if key else "",
        "key": f"...{key.last4}" if key else "(settings)",
        "state": key.state(now_ms()) if key else "good",
        "expires": minute(key.expires_ms) if key else "",
        "last used": minute(key.last_used_ms) if key else "",
        "budget left": ", ".join(f"{amount(each.left, each)} of {each.budget}" for each in stand),
    }
