"""The invariants of every ledger, checked with separate SQL, also while the gateway runs."""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SUMS = (
    "count(*), sum(state = 'settled'), sum(state = 'unknown'), sum(audio_ms), sum(charged_tokens), sum(cost_nano_usd)"
)
_GROUP = "caller, date(admitted_ms / 1000, 'unixepoch') AS day, key_id, task, model"
_DAILY = "caller, day, key_id, task, model, requests, settled, unknown, audio_ms, charged_tokens, cost_nano_usd"

_ROWS_AND_SUMS = f"""
WITH summed AS (SELECT {_GROUP}, {_SUMS} FROM requests GROUP BY 1, 2, 3, 4, 5), kept AS (SELECT {_DAILY} FROM daily)
SELECT * FROM (SELECT * FROM summed EXCEPT SELECT * FROM kept)
UNION ALL SELECT * FROM (SELECT * FROM kept EXCEPT SELECT * FROM summed)
"""

# Each query must return no row.
INVARIANTS = {
    "the daily sums are those of the rows": _ROWS_AND_SUMS,
    "a held or released row costs nothing": (
        "SELECT id FROM requests WHERE state IN ('held', 'released') AND (cost_nano_usd, audio_ms) <> (0, 0)"
    ),
    "an unknown row costs its hold": (
        "SELECT id FROM requests WHERE state = 'unknown' AND cost_nano_usd <> bound_nano_usd"
    ),
    "a row is closed once, after it was held": (
        "SELECT id FROM requests WHERE (state = 'held') <> (closed_seq IS NULL) OR closed_seq < held_seq"
    ),
    "a settled row says where its usage is from": "SELECT id FROM requests WHERE state = 'settled' AND source IS NULL",
}


def check_ledger(ledger: Path, alive_since_ms: int | None = None) -> None:
    """Raises AssertionError for a broken invariant, or a row held since before `alive_since_ms` (default: ever)."""
    with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        connection.execute("BEGIN")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for name, query in INVARIANTS.items():
            assert connection.execute(query).fetchall() == [], name
        held = "SELECT id FROM requests WHERE state = 'held' AND admitted_ms < ?"
        assert connection.execute(held, (alive_since_ms or 1 << 62,)).fetchall() == []


def max_overrun(rows: Sequence[dict[str, Any]], limit: int) -> int:
    """Returns the most by which settled + held passed the limit after any of the writes, in their commit order."""
    writes: list[tuple[int, int, int]] = []
    for row in rows:
        writes.append((row["held_seq"], 0, row["bound_nano_usd"]))
        if row["closed_seq"]:
            writes.append((row["closed_seq"], row["cost_nano_usd"], -row["bound_nano_usd"]))
    settled = held = overrun = 0
    for _, spent, holding in sorted(writes):
        settled, held = settled + spent, held + holding
        overrun = max(overrun, settled + held - limit)
    return overrun
