"""The tables. Triggers keep the totals of `requests` in `daily`, in the same transactions.

Times are milliseconds since the epoch (UTC), audio is in milliseconds, money in integer nano-dollars. A new file gets
the tables of version 1 and then every migration step, so it equals an old file that was migrated.
"""

# Marks a file as a ledger ("agwl"), so that the gateway uses no other SQLite database.
APPLICATION_ID = 0x6167776C

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
    bound_tokens INTEGER NOT NULL,
    bound_nano_usd INTEGER NOT NULL,
    tags TEXT NOT NULL DEFAULT '{}',
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
    charged_tokens INTEGER NOT NULL DEFAULT 0,
    cost_nano_usd INTEGER NOT NULL DEFAULT 0,
    file_bytes INTEGER,
    response_format TEXT,
    stream INTEGER,
    upstream_request_id TEXT,
    sent_ms INTEGER,
    answered_ms INTEGER,
    done_ms INTEGER,
    held_seq INTEGER NOT NULL,
    closed_seq INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_time ON requests (admitted_ms);
CREATE INDEX requests_by_caller ON requests (caller, admitted_ms);
CREATE INDEX requests_held ON requests (caller) WHERE state = 'held';
CREATE INDEX requests_unknown ON requests (id) WHERE state = 'unknown';

CREATE TABLE daily (
    caller TEXT NOT NULL,
    day TEXT NOT NULL,
    key_id TEXT NOT NULL,
    task TEXT NOT NULL,
    model TEXT NOT NULL,
    requests INTEGER NOT NULL DEFAULT 0,
    settled INTEGER NOT NULL DEFAULT 0,
    unknown INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    audio_tokens INTEGER NOT NULL DEFAULT 0,
    text_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    total_tokens INTEGER NOT NULL DEFAULT 0,
    charged_tokens INTEGER NOT NULL DEFAULT 0,
    audio_ms INTEGER NOT NULL DEFAULT 0,
    cost_nano_usd INTEGER NOT NULL DEFAULT 0,
    last_ms INTEGER NOT NULL,
    PRIMARY KEY (caller, day, key_id, task, model)
) STRICT, WITHOUT ROWID;
CREATE INDEX daily_by_day ON daily (day);

CREATE TRIGGER daily_counts_requests AFTER INSERT ON requests BEGIN
    INSERT INTO daily (caller, day, key_id, task, model, requests, last_ms)
    VALUES (NEW.caller, date(NEW.admitted_ms / 1000, 'unixepoch'), NEW.key_id, NEW.task, NEW.model, 1, NEW.admitted_ms)
    ON CONFLICT DO UPDATE SET requests = requests + 1, last_ms = max(last_ms, NEW.admitted_ms);
END;
CREATE TRIGGER daily_sums_usage AFTER UPDATE ON requests BEGIN
    UPDATE daily SET
        settled = settled + (NEW.state = 'settled') - (OLD.state = 'settled'),
        unknown = unknown + (NEW.state = 'unknown') - (OLD.state = 'unknown'),
        input_tokens = input_tokens + ifnull(NEW.input_tokens, 0) - ifnull(OLD.input_tokens, 0),
        audio_tokens = audio_tokens + ifnull(NEW.audio_tokens, 0) - ifnull(OLD.audio_tokens, 0),
        text_tokens = text_tokens + ifnull(NEW.text_tokens, 0) - ifnull(OLD.text_tokens, 0),
        output_tokens = output_tokens + ifnull(NEW.output_tokens, 0) - ifnull(OLD.output_tokens, 0),
        total_tokens = total_tokens + ifnull(NEW.total_tokens, 0) - ifnull(OLD.total_tokens, 0),
        charged_tokens = charged_tokens + NEW.charged_tokens - OLD.charged_tokens,
        audio_ms = audio_ms + NEW.audio_ms - OLD.audio_ms,
        cost_nano_usd = cost_nano_usd + NEW.cost_nano_usd - OLD.cost_nano_usd
    WHERE caller = NEW.caller AND day = date(NEW.admitted_ms / 1000, 'unixepoch') AND key_id = NEW.key_id
        AND task = NEW.task AND model = NEW.model;
END;

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
    terms TEXT NOT NULL,
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

CREATE TABLE resolutions (
    seq INTEGER PRIMARY KEY,
    caller TEXT NOT NULL,
    admitted_ms INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    audio_ms INTEGER NOT NULL,
    charged_tokens INTEGER NOT NULL
) STRICT;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    before TEXT,
    after TEXT
) STRICT;
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;

CREATE TABLE notices (
    id TEXT PRIMARY KEY,
    caller TEXT NOT NULL,
    budget TEXT NOT NULL,
    window_day TEXT NOT NULL,
    threshold INTEGER NOT NULL,
    body TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_ms INTEGER NOT NULL,
    delivered_ms INTEGER,
    UNIQUE (caller, budget, window_day, threshold)
) STRICT, WITHOUT ROWID;
CREATE INDEX notices_waiting ON notices (next_ms) WHERE delivered_ms IS NULL;
"""

# `pruned` has the totals of pruned rows, by tags too. Each total in `daily` equals its rows plus these.
_PRUNED = """
CREATE TABLE pruned (
    caller TEXT NOT NULL,
    day TEXT NOT NULL,
    key_id TEXT NOT NULL,
    task TEXT NOT NULL,
    model TEXT NOT NULL,
    tags TEXT NOT NULL,
    requests INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    audio_tokens INTEGER NOT NULL,
    text_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    charged_tokens INTEGER NOT NULL,
    audio_ms INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    PRIMARY KEY (caller, day, key_id, task, model, tags)
) STRICT, WITHOUT ROWID;
"""

# `implausible_usage` is usage that a provider reported and that is not believed, as JSON. The new trigger runs only for
# columns that it counts, so a revision of a hold does not run it.
_IMPLAUSIBLE_USAGE = """
ALTER TABLE requests ADD COLUMN implausible_usage TEXT;
DROP TRIGGER daily_sums_usage;
CREATE TRIGGER daily_sums_usage AFTER UPDATE OF state, input_tokens, audio_tokens, text_tokens, output_tokens,
    total_tokens, charged_tokens, audio_ms, cost_nano_usd ON requests BEGIN
    UPDATE daily SET
        settled = settled + (NEW.state = 'settled') - (OLD.state = 'settled'),
        unknown = unknown + (NEW.state = 'unknown') - (OLD.state = 'unknown'),
        input_tokens = input_tokens + ifnull(NEW.input_tokens, 0) - ifnull(OLD.input_tokens, 0),
        audio_tokens = audio_tokens + ifnull(NEW.audio_tokens, 0) - ifnull(OLD.audio_tokens, 0),
        text_tokens = text_tokens + ifnull(NEW.text_tokens, 0) - ifnull(OLD.text_tokens, 0),
        output_tokens = output_tokens + ifnull(NEW.output_tokens, 0) - ifnull(OLD.output_tokens, 0),
        total_tokens = total_tokens + ifnull(NEW.total_tokens, 0) - ifnull(OLD.total_tokens, 0),
        charged_tokens = charged_tokens + NEW.charged_tokens - OLD.charged_tokens,
        audio_ms = audio_ms + NEW.audio_ms - OLD.audio_ms,
        cost_nano_usd = cost_nano_usd + NEW.cost_nano_usd - OLD.cost_nano_usd
    WHERE caller = NEW.caller AND day = date(NEW.admitted_ms / 1000, 'unixepoch') AND key_id = NEW.key_id
        AND task = NEW.task AND model = NEW.model;
END;
"""

# The steps from version 1 to each next version. A released step never changes.
STEPS: tuple[str, ...] = (_PRUNED, _IMPLAUSIBLE_USAGE)
VERSION = 1 + len(STEPS)
