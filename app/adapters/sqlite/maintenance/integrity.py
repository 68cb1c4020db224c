"""The integrity checks: what must hold in every ledger, as it is at one moment.

A fault is a state that no gateway writes. A remark may be correct, but an operator should know it.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing

import apsw

from app.adapters.sqlite.connection import create_tables, rows
from app.adapters.sqlite.maintenance.export import wrong_totals
from app.policy.caller_policy import CallerPolicy
from app.services.maintenance import IntegrityFinding, Progress
from app.services.usage import Period

MAX_REPORTED_PAGES = 20
EXAMPLES = 3

# Conditions that no row may meet, by the words that name them. `statements` sets the columns of each state.
_WRONG_ROWS = {
    "are held and have an end, or are not held and have none": (
        "(state = 'held') != (done_ms IS NULL) OR (state = 'held') != (closed_seq IS NULL)"
    ),
    "are held and have a status, an error or a source": (
        "state = 'held' AND NOT (status IS NULL AND error IS NULL AND source IS NULL)"
    ),
    "are held or released, and charged": (
        "state IN ('held', 'released') AND (cost_nano_usd, audio_ms, charged_tokens) != (0, 0, 0)"
    ),
    "are unknown, and not charged at their hold": (
        "state = 'unknown' AND "
        "(cost_nano_usd, audio_ms, charged_tokens) != (bound_nano_usd, bound_audio_ms, bound_tokens)"
    ),
    "are unknown without an error": "state = 'unknown' AND error IS NULL",
    "are charged without a source of usage": "state IN ('settled', 'unknown') AND source IS NULL",
    "have an end and no status": "state != 'held' AND status IS NULL AND error IS NOT 'gateway_stopped'",
    "have a negative number": (
        "min(cost_nano_usd, audio_ms, charged_tokens, bound_nano_usd, bound_audio_ms, bound_tokens, "
        "ifnull(input_tokens, 0), ifnull(audio_tokens, 0), ifnull(text_tokens, 0), ifnull(output_tokens, 0), "
        "ifnull(total_tokens, 0), ifnull(file_bytes, 0)) < 0"
    ),
    "have tags that are not an object": "CASE WHEN json_valid(tags) THEN json_type(tags) != 'object' ELSE 1 END",
}
_COUNT_WRONG = "SELECT {counts} FROM requests"
_EXAMPLES = "SELECT id FROM requests WHERE {condition} ORDER BY id LIMIT {most}"
_NEGATIVE = """
SELECT caller, day, key_id FROM {table} WHERE min(requests, settled, input_tokens, audio_tokens, text_tokens,
    output_tokens, total_tokens, charged_tokens, audio_ms, cost_nano_usd) < 0
"""
_ORPHANED_KEYS = "SELECT id, caller FROM keys WHERE caller NOT IN (SELECT name FROM callers) ORDER BY id"
_AUDIT = "SELECT seq, at_ms, lag(seq, 1, 0) OVER w, lag(at_ms) OVER w FROM audit WINDOW w AS (ORDER BY seq)"
_SCHEMA_OBJECTS = "SELECT type || ' ' || name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"


def check_integrity(
    connection: apsw.Connection, served: bool, quick: bool, progress: Progress
) -> Iterator[IntegrityFinding]:
    """Yields the result of each check. `served` says whether a gateway serves now; `quick` skips the indexes.

    `progress` receives the checks done and the checks in total, repeatedly during a long check.
    """
    steps: tuple[tuple[str, Callable[[], IntegrityFinding]], ...] = (
        ("file", lambda: IntegrityFinding("file", tuple(_wrong_pages(connection, quick)))),
        ("tables", lambda: _tables(connection)),
        ("rows", lambda: IntegrityFinding("rows", tuple(_wrong_rows(connection)), tuple(_remarks(connection, served)))),
        ("sums", lambda: IntegrityFinding("sums", tuple(_wrong_totals(connection)))),
        ("callers", lambda: IntegrityFinding("callers", tuple(_wrong_callers(connection)))),
        ("audit", lambda: _audit(connection)),
    )
    for number, (name, check) in enumerate(steps):
        connection.set_progress_handler(_progress_handler(progress, number, len(steps)), 100_000)
        try:
            yield check()
        except apsw.CorruptError as error:
            yield IntegrityFinding(name, (f"it cannot be read: {error}",))
    progress(len(steps), len(steps))


def _progress_handler(progress: Progress, done: int, total: int) -> Callable[[], bool]:
    def tick() -> bool:
        progress(done, total)
        return False

    return tick


def _wrong_pages(connection: apsw.Connection, quick: bool) -> Iterator[str]:
    pragma = "quick_check" if quick else "integrity_check"
    for (fault,) in connection.execute(f"PRAGMA {pragma}({MAX_REPORTED_PAGES})"):
        if fault != "ok":
            yield " ".join(fault.split())


def _tables(connection: apsw.Connection) -> IntegrityFinding:
    """Compares the tables, indexes and triggers with those that this version creates."""
    with closing(apsw.Connection(":memory:")) as new:
        create_tables(new)
        expected, present = dict(rows(new, _SCHEMA_OBJECTS)), dict(rows(connection, _SCHEMA_OBJECTS))
    missing = [f"the {name} is missing" for name in expected if name not in present]
    changed = [
        f"the {name} has been changed" for name in expected if present.get(name, expected[name]) != expected[name]
    ]
    added = [f"the {name} is not the gateway's" for name in present if name not in expected]
    return IntegrityFinding("tables", (*missing, *changed), tuple(added))


def _wrong_rows(connection: apsw.Connection) -> Iterator[str]:
    sums = ", ".join(f"ifnull(sum({condition}), 0)" for condition in _WRONG_ROWS.values())
    (counts,) = rows(connection, _COUNT_WRONG.format(counts=sums))
    for count, (words, condition) in zip(counts, _WRONG_ROWS.items(), strict=True):
        if count:
            examples = rows(connection, _EXAMPLES.format(condition=condition, most=EXAMPLES))
            ids = ", ".join(row[0] for row in examples)
            yield f"{count} rows {words}: {ids}{' ...' if count > EXAMPLES else ''}"


def _remarks(connection: apsw.Connection, served: bool) -> Iterator[str]:
    count = connection.execute("SELECT count(*) FROM requests WHERE implausible_usage IS NOT NULL").get
    if count:
        yield f"{count} rows were settled as measured, because the reported usage is implausible (implausible_usage)"
    count = connection.execute("SELECT count(*) FROM requests WHERE state = 'held'").get
    if count and not served:
        yield f"{count} rows are held, but no gateway serves from this file; the next start makes them unknown"


def _wrong_totals(connection: apsw.Connection) -> Iterator[str]:
    yield from wrong_totals(connection, Period())
    for table in ("daily", "pruned"):
        for group in rows(connection, _NEGATIVE.format(table=table)):
            yield f"the sums of {' / '.join(group)} in {table} are negative"


def _wrong_callers(connection: apsw.Connection) -> Iterator[str]:
    for key_id, caller in rows(connection, _ORPHANED_KEYS):
        yield f"the key {key_id} belongs to {caller}, which does not exist"
    for name, policy in rows(connection, "SELECT name, terms FROM callers ORDER BY name"):
        try:
            CallerPolicy.read(json.loads(policy))
        except (ValueError, TypeError) as error:
            yield f"the terms of {name} cannot be read: {error}"


def _audit(connection: apsw.Connection) -> IntegrityFinding:
    """Checks that no entry is missing, and remarks on times that go back, which a changed clock explains."""
    faults, remarks = [], []
    for seq, at_ms, previous_seq, previous_ms in rows(connection, _AUDIT):
        if seq != previous_seq + 1:
            faults.append(f"entries {previous_seq + 1} to {seq - 1} are missing")
        if previous_ms is not None and at_ms < previous_ms - 60_000:
            remarks.append(f"entry {seq} is {(previous_ms - at_ms) // 1000} s older than the entry before it")
    return IntegrityFinding("audit", tuple(faults), tuple(remarks))
