"""The tables. Times are milliseconds since the epoch (UTC), audio milliseconds, money integer nano-dollars."""

# Marks a file as this ledger's, so that no other SQLite database is ever taken for it ("agwl").
APPLICATION_ID = 0x6167776C
VERSION = 1

TABLES = """
CREATE TABLE requests (
    id TEXT PRIMARY KEY,
    caller TEXT NOT NULL,
    key_id TEXT NOT NULL,
    task TEXT NOT NULL,
    model TEXT NOT NULL,
    upstream TEXT NOT NULL,
    upstream_model TEXT NOT NULL,
    container TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('held', 'settled', 'released', 'unknown')),
    bound_audio_ms INTEGER NOT NULL,
    bound_nano_usd INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    admitted_ms INTEGER NOT NULL,
    status INTEGER,
    error TEXT,
    source TEXT CHECK (source IN ('upstream', 'measured', 'estimated')),
    audio_ms INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER,
    audio_tokens INTEGER,
    text_tokens INTEGER,
    output_tokens INTEGER,
    total_tokens INTEGER,
    cost_nano_usd INTEGER NOT NULL DEFAULT 0,
    file_bytes INTEGER,
    response_format TEXT,
    stream INTEGER,
    upstream_request_id TEXT,
    sent_ms INTEGER,
    answered_ms INTEGER,
    done_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_time ON requests (admitted_ms);
CREATE INDEX requests_held ON requests (id) WHERE state = 'held';

CREATE TABLE refusals (
    day TEXT NOT NULL,
    caller TEXT NOT NULL,
    key_id TEXT NOT NULL,
    task TEXT NOT NULL,
    model TEXT NOT NULL,
    code TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (day, caller, key_id, task, model, code)
) STRICT, WITHOUT ROWID;

CREATE TABLE callers (
    name TEXT PRIMARY KEY,
    models TEXT,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    caller TEXT NOT NULL REFERENCES callers (name),
    sha256 TEXT NOT NULL UNIQUE,
    last4 TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    revoked_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_caller ON keys (caller);
"""
