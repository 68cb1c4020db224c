"""Fills a ledger with settled rows in one transaction. A million rows take some seconds and 300 MB."""

from contextlib import closing

import apsw

from app.adapters.sqlite import Database
from app.adapters.sqlite.connection import write_transaction

CALLERS, MODELS, DAYS = 40, 4, 90
FIRST_MS = 1_767_225_600_000
DAY_MS = 86_400_000

_CACHE_KIB = 400_000

# Rows are in the order of their times, as a gateway writes them.
_ROWS = f"""
WITH RECURSIVE
    n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :rows),
    t(i, ms) AS (SELECT i, {FIRST_MS} + i * {DAYS * DAY_MS} / :rows FROM n)
INSERT INTO requests (id, caller, key_id, task, model, upstream, upstream_model, container, state, bound_audio_ms,
    bound_tokens, bound_nano_usd, received_ms, admitted_ms, status, source, audio_ms, input_tokens, audio_tokens,
    text_tokens, output_tokens, total_tokens, charged_tokens, cost_nano_usd, file_bytes, response_format, stream,
    sent_ms, answered_ms, done_ms, held_seq, closed_seq)
SELECT printf('req_%026d', i), 'caller-' || (i % {CALLERS}), 'key-' || (i % {CALLERS}), 'transcribe',
    'model-' || (i / {CALLERS} % {MODELS}), 'upstream', 'model', 'wav', 'settled', 60000,
    2000, 6000000, ms, ms, 200, 'upstream', 30000, 300, 300,
    0, 100, 400, 400, 3000000, 960044, 'json', 0,
    ms + 5, ms + 800, ms + 900, i, i + 1
FROM t
"""
_DAILY = """
INSERT INTO daily (caller, day, key_id, task, model, requests, settled, input_tokens, audio_tokens, text_tokens,
    output_tokens, total_tokens, charged_tokens, audio_ms, cost_nano_usd, last_ms)
SELECT caller, date(admitted_ms / 1000, 'unixepoch') AS day, key_id, task, model, count(*), count(*),
    sum(input_tokens), sum(audio_tokens), sum(text_tokens), sum(output_tokens), sum(total_tokens),
    sum(charged_tokens), sum(audio_ms), sum(cost_nano_usd), max(admitted_ms)
FROM requests GROUP BY caller, day, key_id, task, model
"""
_TRIGGERS = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'requests'"


def fill(database: Database, rows: int) -> None:
    """Gives a new ledger this many rows and their daily sums. A crash during the work corrupts the file."""
    with closing(database.connect()) as connection:
        if rows:
            connection.pragma("journal_mode", "off")
            connection.pragma("synchronous", "off")
            connection.pragma("cache_size", -_CACHE_KIB)
            with write_transaction(connection):
                _insert(connection, rows)


def _insert(connection: apsw.Connection, rows: int) -> None:
    """Inserts the rows without the triggers, which would update the sums row by row, and computes the sums once."""
    triggers = connection.execute(_TRIGGERS).fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(_ROWS, {"rows": rows})
    connection.execute(_DAILY)
    for _, sql in triggers:
        connection.execute(str(sql))
