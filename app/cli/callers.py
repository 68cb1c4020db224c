"""Callers as the commands show them: a line a key for people, a document a caller for programs."""

from app.cli.times import iso, minute
from app.clock import now_ms
from app.gateway.administration import CallerRecord, KeyRecord
from app.gateway.report import Standing
from app.policy.budget import amount_text

SPARE = ("id", "expires", "left", "last used")  # columns of `lines` that a narrow terminal does without
BUDGETS_SPARE = ("held", "resets_at")


def lines(record: CallerRecord, stand: list[Standing]) -> list[dict[str, object]]:
    """A line a key; one without a key for a caller of the settings."""
    return [_line(record, key, stand) for key in record.keys or (None,)]


def document(record: CallerRecord, stand: list[Standing]) -> dict[str, object]:
    """A caller as JSON, with no key in it."""
    return {
        "caller": record.name,
        "origin": record.origin,
        "terms": record.terms.document(),
        "keys": [_key(key) for key in record.keys],
        "budgets": [each.as_json() for each in stand],
    }


def plain(value: object) -> str:
    """Terms, or a part of them, in words."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(each)}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _line(record: CallerRecord, key: KeyRecord | None, stand: list[Standing]) -> dict[str, object]:
    return {
        "caller": record.name,
        "origin": record.origin,
        "id": key.id if key else "",
        "key": f"...{key.last4}" if key else "",
        "state": key.state(now_ms()) if key else "good",
        "expires": minute(key.expires_ms) if key else "",
        "last used": minute(key.last_used_ms) if key else "",
        "spent": _amounts(stand, "spent"),
        "left": _amounts(stand, "left"),
    }


def _key(key: KeyRecord) -> dict[str, object]:
    return {
        "id": key.id,
        "last4": key.last4,
        "state": key.state(now_ms()),
        "created": iso(key.created_ms),
        "expires": iso(key.expires_ms),
        "last_used": iso(key.last_used_ms),
    }


def _amounts(stand: list[Standing], part: str) -> str:
    return ", ".join(
        f"{amount_text(getattr(each, part), each.budget.unit)}{each.budget.unit}/{each.budget.window}" for each in stand
    )
