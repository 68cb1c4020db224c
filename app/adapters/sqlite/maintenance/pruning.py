"""Pruning: removes old rows and keeps every total. The transaction that deletes rows adds their totals to `pruned`.

Held and unknown rows stay, whatever their age, because their charge may still change. Transactions are small, and each
is followed by a pause as long, so a running gateway can write in between. A kill leaves a consistent ledger.
"""

import json
import time
from datetime import UTC, datetime

import apsw

from app.adapters.sqlite.callers import write_audit
from app.adapters.sqlite.connection import rows, write_transaction
from app.services.callers import AuditEntry
from app.services.maintenance import Progress, Prunable, no_progress

ROWS_AT_ONCE = 500
LEAST_PAUSE_SECONDS = 0.005

_CLOSED_ROWS = """
SELECT count(*), min(admitted_ms) FROM requests WHERE admitted_ms < ? AND state IN ('settled', 'released')
"""
_OPEN_ROWS = "SELECT count(*) FROM requests WHERE admitted_ms < ? AND state IN ('held', 'unknown')"
_NEXT_ROWS = """
SELECT id FROM requests WHERE admitted_ms < ? AND state IN ('settled', 'released') ORDER BY admitted_ms LIMIT ?
"""
_ADD_TO_PRUNED = """
INSERT INTO pruned (caller, day, key_id, task, model, tags, requests, settled, input_tokens, audio_tokens, text_tokens,
                    output_tokens, total_tokens, charged_tokens, audio_ms, cost_nano_usd)
SELECT caller, date(admitted_ms / 1000, 'unixepoch'), key_id, task, model, tags, count(*), sum(state = 'settled'),
       sum(ifnull(input_tokens, 0)), sum(ifnull(audio_tokens, 0)), sum(ifnull(text_tokens, 0)),
       sum(ifnull(output_tokens, 0)), sum(ifnull(total_tokens, 0)), sum(charged_tokens), sum(audio_ms),
       sum(cost_nano_usd)
FROM requests WHERE id IN (SELECT value FROM json_each(?)) GROUP BY 1, 2, 3, 4, 5, 6
ON CONFLICT DO UPDATE SET
    requests = requests + excluded.requests, settled = settled + excluded.settled,
    input_tokens = input_tokens + excluded.input_tokens, audio_tokens = audio_tokens + excluded.audio_tokens,
    text_tokens = text_tokens + excluded.text_tokens, output_tokens = output_tokens + excluded.output_tokens,
    total_tokens = total_tokens + excluded.total_tokens, charged_tokens = charged_tokens + excluded.charged_tokens,
    audio_ms = audio_ms + excluded.audio_ms, cost_nano_usd = cost_nano_usd + excluded.cost_nano_usd
"""
_DELETE = "DELETE FROM requests WHERE id IN (SELECT value FROM json_each(?))"


def prunable(connection: apsw.Connection, before_ms: int) -> Prunable:
    """Returns what `prune` would do with the rows admitted before this moment."""
    ((count, first_ms),) = rows(connection, _CLOSED_ROWS, (before_ms,))
    first = None if first_ms is None else datetime.fromtimestamp(first_ms / 1000, UTC).date()
    return Prunable(count, first, connection.execute(_OPEN_ROWS, (before_ms,)).get)


def prune(connection: apsw.Connection, before_ms: int, entry: AuditEntry, progress: Progress = no_progress) -> int:
    """Removes the closed rows admitted before this moment, and returns how many.

    The first transaction writes the audit entry. `progress` receives the rows removed and the rows in total.
    """
    total, removed = prunable(connection, before_ms).rows, 0
    while count := _prune_batch(connection, before_ms, entry if removed == 0 else None):
        removed += count
        progress(removed, max(total, removed))
    return removed


def _prune_batch(connection: apsw.Connection, before_ms: int, entry: AuditEntry | None) -> int:
    began = time.monotonic()
    with write_transaction(connection):
        ids = [row[0] for row in rows(connection, _NEXT_ROWS, (before_ms, ROWS_AT_ONCE))]
        if ids:
            if entry is not None:
                write_audit(connection, entry)
            for query in (_ADD_TO_PRUNED, _DELETE):
                connection.execute(query, (json.dumps(ids),))
    time.sleep(max(LEAST_PAUSE_SECONDS, time.monotonic() - began))
    return len(ids)
