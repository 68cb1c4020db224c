"""The export of rows, and the check of the daily totals against them. Both use constant memory at any size."""

import json
from collections.abc import Iterator
from typing import Any

import apsw

from app.adapters.sqlite.usage_reports import COUNTED, bounds
from app.services.usage import ExportedRow, Period
from app.units import iso_time, seconds_of, usd_text

_ROWS = "SELECT * FROM requests WHERE admitted_ms >= ? AND admitted_ms < ? ORDER BY admitted_ms, id"
_TOTALLED = (
    "input_tokens",
    "audio_tokens",
    "text_tokens",
    "output_tokens",
    "total_tokens",
    "charged_tokens",
    "audio_ms",
    "cost_nano_usd",
)
_INTERNAL = frozenset({"bound_nano_usd", "bound_audio_ms", "cost_nano_usd", "audio_ms", "held_seq", "closed_seq"})

_NAMES = {
    "received_ms": "received_at",
    "admitted_ms": "admitted_at",
    "sent_ms": "sent_at",
    "answered_ms": "answered_at",
    "done_ms": "done_at",
}

_DISAGREEMENTS = """
WITH summed AS (
    SELECT caller, day, key_id, task, model, sum(requests) AS requests, sum(settled) AS settled,
           sum(unknown) AS unknown, {sums}
    FROM ({counted}) GROUP BY 1, 2, 3, 4, 5
)
SELECT caller, day, key_id, task, model
FROM (SELECT * FROM daily WHERE day >= :first AND day <= :last) AS kept
FULL JOIN summed USING (caller, day, key_id, task, model)
WHERE (kept.requests, kept.settled, kept.unknown, {kept})
      IS NOT (summed.requests, summed.settled, summed.unknown, {summed})
ORDER BY 1, 2, 3, 4, 5
"""
_WRONG_STATE = """
SELECT count(*) FROM requests WHERE admitted_ms >= :begin AND admitted_ms < :end AND (
    (state = 'held') != (done_ms IS NULL)
    OR (state IN ('held', 'released') AND (cost_nano_usd, audio_ms, charged_tokens) != (0, 0, 0))
)
"""

_PRESENT = "SELECT count(*) FROM requests WHERE admitted_ms >= :begin AND admitted_ms < :end"
_PRUNED = "SELECT ifnull(sum(requests), 0) FROM pruned WHERE day >= :first AND day <= :last"


def exported_rows(connection: apsw.Connection, period: Period) -> Iterator[ExportedRow]:
    """Yields every admitted request of a period, in the order of admission. `ExportedRow` says what a row has."""
    names: list[str] = []
    cursor = connection.execute(_ROWS, (period.begin_ms, period.end_ms))
    for values in cursor:
        names = names or [column[0] for column in cursor.get_description()]
        row = dict(zip(names, values, strict=True))
        exported = {
            _NAMES.get(name, name): _exported(name, value) for name, value in row.items() if name not in _INTERNAL
        }
        yield exported | {
            "audio_seconds": seconds_of(row["audio_ms"]),
            "cost_usd": usd_text(row["cost_nano_usd"]),
            "held_usd": usd_text(row["bound_nano_usd"]),
        }


def _exported(name: str, value: Any) -> object:
    """Returns the exported value: a time in ISO 8601, tags as an object, a flag as a boolean."""
    if value is None:
        return None
    if name in _NAMES:
        return iso_time(value)
    if name == "tags":
        return json.loads(value)
    return bool(value) if name == "stream" else value


def count_rows(connection: apsw.Connection, period: Period) -> tuple[int, int]:
    """Returns how many rows of a period exist, and how many more were pruned."""
    present: int = connection.execute(_PRESENT, bounds(period)).get
    pruned: int = connection.execute(_PRUNED, bounds(period)).get
    return present, pruned


def disagreements(connection: apsw.Connection, period: Period) -> list[str]:
    """Returns one line for each daily total that differs from its rows, and one for rows with a wrong state."""
    wrong_state = connection.execute(_WRONG_STATE, bounds(period)).get
    state_lines = [f"{wrong_state} rows have a wrong state"] if wrong_state else []
    return [*wrong_totals(connection, period), *state_lines]


def wrong_totals(connection: apsw.Connection, period: Period) -> list[str]:
    """Returns one line for each daily total that differs from its rows plus its pruned rows."""
    query = _DISAGREEMENTS.format(
        sums=", ".join(f"sum({name}) AS {name}" for name in _TOTALLED),
        counted=COUNTED.format(caller=""),
        kept=", ".join(f"kept.{name}" for name in _TOTALLED),
        summed=", ".join(f"summed.{name}" for name in _TOTALLED),
    )
    groups = connection.execute(query, bounds(period))
    return [f"the sums of {' / '.join(group)} are not those of its rows" for group in groups]
