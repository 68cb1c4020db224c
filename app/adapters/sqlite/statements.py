"""What the writer writes, as SQL and its values.

Many rows of a batch are one statement with all their values, and so one step of SQLite's: who steps row by row takes
Python's lock away from the event loop as often.
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

# So many rows are one statement at the most; each number of them is a statement of its own, compiled once.
MAX_ROWS = 32

# The columns of a row as it begins, as its hold is revised, and as it ends: those of `held`, `revised` and `closed`.
_HELD = """
id, caller, key_id, task, model, upstream, upstream_model, container, received_ms, admitted_ms,
bound_nano_usd, bound_audio_ms, bound_tokens, tags, held_seq
"""
_CLOSED = """
id, state, status, error, source, file_bytes, response_format, stream, upstream_request_id, sent_ms, answered_ms,
done_ms, cost_nano_usd, audio_ms, charged_tokens, bound_nano_usd, bound_audio_ms, bound_tokens, input_tokens,
output_tokens, total_tokens, audio_tokens, text_tokens, implausible_usage, closed_seq
"""
_REVISED = "id, bound_nano_usd, bound_audio_ms, bound_tokens"
_BEGIN = "INSERT INTO requests ({columns}, state) VALUES {rows}"
_CHANGE = """
WITH new ({columns}) AS (VALUES {rows})
UPDATE requests SET {changes} FROM new WHERE requests.id = new.id AND requests.state = 'held'
"""
CLOSE_ORPHANS = """
UPDATE requests SET state = 'unknown', error = 'gateway_stopped', source = 'estimated', audio_ms = bound_audio_ms,
    charged_tokens = bound_tokens, cost_nano_usd = bound_nano_usd, done_ms = ?, closed_seq = ? WHERE state = 'held'
"""
_REFUSE = """
INSERT INTO refusals (day, caller, key_id, task, model, code, count) VALUES (?, ?, ?, ?, ?, ?, 1)
ON CONFLICT DO UPDATE SET count = count + 1
"""
_NOTICE = """
INSERT OR IGNORE INTO notices (id, caller, budget, window_day, threshold, body, created_ms, next_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_MARK_NOTICE = "UPDATE notices SET attempts = attempts + 1, next_ms = ?, delivered_ms = ? WHERE id = ?"

_NO_COUNTS = (None,) * 5

# Writes, and changes nothing.
TOUCH = f"PRAGMA user_version = {VERSION}"


def holding(rows: Sequence[Row]) -> Iterator[Statement]:
    """What begins these rows, each of them made by `held`."""
    for start in range(0, len(rows), MAX_ROWS):
        some = rows[start : start + MAX_ROWS]
        yield _begin(len(some)), tuple(chain.from_iterable(some))


def closing(rows: Sequence[Row]) -> Iterator[Statement]:
    """What ends these rows, each of them made by `closed`; those that are not held stay as they are."""
    for start in range(0, len(rows), MAX_ROWS):
        some = rows[start : start + MAX_ROWS]
        yield _change(_CLOSED, len(some)), tuple(chain.from_iterable(some))


def revising(rows: Sequence[Row]) -> Iterator[Statement]:
    """What gives these rows another hold, each of them made by `revised`; those that have ended stay as they are."""
    for start in range(0, len(rows), MAX_ROWS):
        some = rows[start : start + MAX_ROWS]
        yield _change(_REVISED, len(some)), tuple(chain.from_iterable(some))


def held(hold: Hold, seq: int) -> Row:
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


def revised(request_id: str, bound: Amounts) -> Row:
    return (request_id, *bound)


def closed(result: SettlementResult, seq: int) -> Row:
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


def refused(caller: Caller, call: InboundRequest, refusal: APIError) -> Statement:
    """Counts a refusal of a known caller."""
    day = datetime.fromtimestamp(call.received_ms / 1000, UTC).date().isoformat()
    return _REFUSE, (day, caller.name, caller.key_id, call.operation.task, refusal.model or "", refusal.code)


def alerted(alert: BudgetAlert) -> Statement:
    """Keeps a notice for its delivery; nothing if there is one of its threshold and window already."""
    body, window = json.dumps(alert.document()), alert.window.isoformat()
    created_ms = alert.created_ms
    return _NOTICE, (
        alert.id,
        alert.caller,
        alert.budget,
        window,
        alert.threshold,
        body,
        created_ms,
        created_ms,
    )


def marked(notice_id: str, next_ms: int, delivered_ms: int | None) -> Statement:
    """Writes down a try to deliver a notice."""
    return _MARK_NOTICE, (next_ms, delivered_ms, notice_id)


@lru_cache(MAX_ROWS)
def _begin(rows: int) -> str:
    return _BEGIN.format(columns=_HELD, rows=_places(_HELD, rows, last=", 'held'"))


@lru_cache(2 * MAX_ROWS)
def _change(columns: str, rows: int) -> str:
    changes = ", ".join(f"{column} = new.{column}" for column in _names(columns) if column != "id")
    return _CHANGE.format(columns=columns, rows=_places(columns, rows), changes=changes)


def _places(columns: str, rows: int, last: str = "") -> str:
    """`(?, ?), (?, ?)` for two rows of two columns."""
    row = ", ".join("?" for _ in _names(columns))
    return ", ".join([f"({row}{last})"] * rows)


def _names(columns: str) -> list[str]:
    return columns.replace(",", " ").split()
