"""The SQL statements of the writer, with their values.

One statement writes many rows of a batch, so SQLite executes one step for all of them. A step for each row would take
Python's global lock from the event loop as often.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain

from app.adapters.sqlite.schema import VERSION
from app.errors import APIError
from app.gateway.caller import Caller
from app.gateway.inbound_request import InboundRequest
from app.gateway.ledger_rows import BudgetAlert, Hold, SettlementResult
from app.policy.budget import Amounts

Value = str | int | None
Row = tuple[Value, ...]
Statement = tuple[str, Row]

# The most rows of one statement. Each number of rows has its own statement, which is compiled once.
MAX_ROWS = 32

# The columns of `held_row`, `settled_row` and `revised_row`.
_HELD = """
id, caller, key_id, task, model, upstream, upstream_model, container, received_ms, admitted_ms,
bound_nano_usd, bound_audio_ms, bound_tokens, tags, held_seq
"""
_SETTLED = """
id, state, status, error, source, file_bytes, response_format, stream, upstream_request_id, sent_ms, answered_ms,
done_ms, cost_nano_usd, audio_ms, charged_tokens, bound_nano_usd, bound_audio_ms, bound_tokens, input_tokens,
output_tokens, total_tokens, audio_tokens, text_tokens, implausible_usage, closed_seq
"""
_REVISED = "id, bound_nano_usd, bound_audio_ms, bound_tokens"
_INSERT = "INSERT INTO requests ({columns}, state) VALUES {rows}"
_UPDATE = """
WITH new ({columns}) AS (VALUES {rows})
UPDATE requests SET {changes} FROM new WHERE requests.id = new.id AND requests.state = 'held'
"""
CLOSE_ORPHANS = """
UPDATE requests SET state = 'unknown', error = 'gateway_stopped', source = 'estimated', audio_ms = bound_audio_ms,
    charged_tokens = bound_tokens, cost_nano_usd = bound_nano_usd, done_ms = ?, closed_seq = ? WHERE state = 'held'
"""
_COUNT_REFUSAL = """
INSERT INTO refusals (day, caller, key_id, task, model, code, count) VALUES (?, ?, ?, ?, ?, ?, 1)
ON CONFLICT DO UPDATE SET count = count + 1
"""
_INSERT_ALERT = """
INSERT OR IGNORE INTO notices (id, caller, budget, window_day, threshold, body, created_ms, next_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_MARK_ALERT = "UPDATE notices SET attempts = attempts + 1, next_ms = ?, delivered_ms = ? WHERE id = ?"

_NO_COUNTS = (None,) * 5

# A write that changes nothing.
TOUCH = f"PRAGMA user_version = {VERSION}"


def insert_holds(rows: Sequence[Row]) -> Iterator[Statement]:
    """Yields the statements that insert these rows of `held_row`."""
    for start in range(0, len(rows), MAX_ROWS):
        part = rows[start : start + MAX_ROWS]
        yield _insert(len(part)), tuple(chain.from_iterable(part))


def settle_rows(rows: Sequence[Row]) -> Iterator[Statement]:
    """Yields the statements that settle these rows of `settled_row`. Rows that are not held do not change."""
    for start in range(0, len(rows), MAX_ROWS):
        part = rows[start : start + MAX_ROWS]
        yield _update(_SETTLED, len(part)), tuple(chain.from_iterable(part))


def revise_holds(rows: Sequence[Row]) -> Iterator[Statement]:
    """Yields the statements that change the bounds of these rows of `revised_row`. Settled rows do not change."""
    for start in range(0, len(rows), MAX_ROWS):
        part = rows[start : start + MAX_ROWS]
        yield _update(_REVISED, len(part)), tuple(chain.from_iterable(part))


def held_row(hold: Hold, seq: int) -> Row:
    return (
        hold.id,
        hold.caller,
        hold.key_id,
        hold.task,
        hold.model,
        hold.upstream,
        hold.upstream_model,
        hold.container,
        hold.received_ms,
        hold.admitted_ms,
        *hold.bound,
        json.dumps(dict(hold.tags)) if hold.tags else "{}",
        seq,
    )


def revised_row(request_id: str, bound: Amounts) -> Row:
    return (request_id, *bound)


def settled_row(result: SettlementResult, seq: int) -> Row:
    tokens = result.tokens
    counts = (tokens.input, tokens.output, tokens.total, tokens.audio, tokens.text) if tokens else _NO_COUNTS
    return (
        result.id,
        result.state,
        result.status,
        result.error,
        result.source,
        result.file_bytes,
        result.response_format,
        result.stream,
        result.upstream_request_id,
        result.sent_ms,
        result.answered_ms,
        result.done_ms,
        *result.charge,
        *result.bound,
        *counts,
        None if result.implausible is None else json.dumps(result.implausible.document()),
        seq,
    )


def count_refusal(caller: Caller, request: InboundRequest, refusal: APIError) -> Statement:
    """Returns the statement that counts a refusal of a known caller."""
    day = datetime.fromtimestamp(request.received_ms / 1000, UTC).date().isoformat()
    return _COUNT_REFUSAL, (day, caller.name, caller.key_id, request.operation.task, refusal.model or "", refusal.code)


def insert_alert(alert: BudgetAlert) -> Statement:
    """Returns the statement that stores an alert for delivery, unless its threshold and window have one already."""
    body, window = json.dumps(alert.document()), alert.window.isoformat()
    created_ms = alert.created_ms
    return _INSERT_ALERT, (
        alert.id,
        alert.caller,
        alert.budget,
        window,
        alert.threshold,
        body,
        created_ms,
        created_ms,
    )


def mark_alert(alert_id: str, next_ms: int, delivered_ms: int | None) -> Statement:
    """Returns the statement that records an attempt to deliver an alert."""
    return _MARK_ALERT, (next_ms, delivered_ms, alert_id)


@lru_cache(MAX_ROWS)
def _insert(rows: int) -> str:
    return _INSERT.format(columns=_HELD, rows=_placeholders(_HELD, rows, last=", 'held'"))


@lru_cache(2 * MAX_ROWS)
def _update(columns: str, rows: int) -> str:
    changes = ", ".join(f"{column} = new.{column}" for column in _names(columns) if column != "id")
    return _UPDATE.format(columns=columns, rows=_placeholders(columns, rows), changes=changes)


def _placeholders(columns: str, rows: int, last: str = "") -> str:
    """Returns the placeholders: `(?, ?), (?, ?)` for two rows of two columns."""
    row = ", ".join("?" for _ in _names(columns))
    return ", ".join([f"({row}{last})"] * rows)


def _names(columns: str) -> list[str]:
    return columns.replace(",", " ").split()
