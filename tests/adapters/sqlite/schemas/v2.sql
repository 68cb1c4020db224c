BEGIN TRANSACTION;
PRAGMA application_id = 1634170732;
PRAGMA user_version = 2;
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    before TEXT,
    after TEXT
) STRICT;
INSERT INTO "audit" VALUES(1,1752321600000,'cli:root','create','alice',NULL,'{"key_id": "key_1"}');
INSERT INTO "audit" VALUES(2,1752408000000,'admin-api','create','bob',NULL,'{"key_id": "key_2"}');
INSERT INTO "audit" VALUES(3,1795521600000,'cli:root','revoke','bob','{"keys": ["key_2"]}',NULL);
INSERT INTO "audit" VALUES(4,1795521600000,'cli:root','resolve','req_03','{"state": "unknown"}','{"state": "released"}');
INSERT INTO "audit" VALUES(5,1795521600000,'cli:root','resolve','req_07','{"state": "unknown"}','{"state": "settled"}');
CREATE TABLE callers (
    name TEXT PRIMARY KEY,
    terms TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "callers" VALUES('alice','{"rpm": 60, "budgets": ["1usd/total", "9min/month"], "tags": {"team": "a"}}',1752321600000);
INSERT INTO "callers" VALUES('bob','{}',1752408000000);
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
INSERT INTO "daily" VALUES('alice','2025-08-31','key_1','transcribe','whisper-1',4,1,1,14,14,0,45,59,129,3000,4500,1756641600000);
INSERT INTO "daily" VALUES('alice','2025-09-01','key_1','transcribe','whisper-1',4,1,2,14,14,0,45,59,199,5000,7500,1756728000000);
INSERT INTO "daily" VALUES('alice','2025-09-01','key_1','translate','whisper-1',1,0,0,0,0,0,0,0,0,0,0,1756728000000);
INSERT INTO "daily" VALUES('alice','2026-11-24','key_1','transcribe','whisper-1',4,1,2,14,14,0,45,59,199,5000,7500,1795521600000);
INSERT INTO "daily" VALUES('alice','2026-11-24','key_1','translate','whisper-1',1,0,0,0,0,0,0,0,0,0,0,1795521600000);
INSERT INTO "daily" VALUES('bob','2025-08-31','key_2','transcribe','whisper-1',4,2,1,14,14,0,45,59,199,3600,5000,1756641600000);
INSERT INTO "daily" VALUES('bob','2025-09-01','key_2','transcribe','whisper-1',4,1,2,14,14,0,45,59,199,5000,7500,1756728000000);
INSERT INTO "daily" VALUES('bob','2026-11-24','key_2','transcribe','whisper-1',4,1,2,14,14,0,45,59,199,5000,7500,1795521600000);
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    caller TEXT NOT NULL REFERENCES callers (name),
    sha256 TEXT NOT NULL UNIQUE,
    last4 TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    revoked_ms INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO "keys" VALUES('key_1','alice','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','aaaa',1752321600000,NULL,NULL);
INSERT INTO "keys" VALUES('key_2','bob','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','bbbb',1752408000000,NULL,1795521600000);
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
INSERT INTO "notices" VALUES('ntc_1','alice','1usd/total','1970-01-01',80,'{"id": "ntc_1", "type": "budget.threshold_reached", "created": 1756641600, "caller": "alice", "budget": "1usd/total", "window_began": "1970-01-01", "threshold_percent": 80, "spent": "0.8", "limit": "1"}',1756641600000,0,1756641600000,NULL);
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
INSERT INTO "refusals" VALUES('2025-08-31','alice','key_1','transcribe','whisper-1','rate_limit_exceeded',1);
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
INSERT INTO "requests" VALUES('req_01','alice','key_1','transcribe','whisper-1','up','whisper-1','wav','settled',2000,70,3000,'{"team": "a"}',1756641600000,1756641600000,200,NULL,'upstream',1000,14,14,0,45,59,59,1500,16000,'json',0,'up_1',1756641600001,1756641600002,1756641600003,1,2);
INSERT INTO "requests" VALUES('req_02','alice','key_1','transcribe','whisper-1','up','whisper-1','wav','released',2000,70,3000,'{"team": "a"}',1756641600000,1756641600000,502,'upstream_error',NULL,0,NULL,NULL,NULL,NULL,NULL,0,0,16000,'json',0,'up_1',1756641600001,1756641600002,1756641600003,3,4);
INSERT INTO "requests" VALUES('req_03','alice','key_1','transcribe','whisper-1','up','whisper-1','wav','released',2000,70,3000,'{"team": "a"}',1756641600000,1756641600000,502,'upstream_error','estimated',0,NULL,NULL,NULL,NULL,NULL,0,0,16000,'json',0,'up_1',1756641600001,1756641600002,1756641600003,5,6);
INSERT INTO "requests" VALUES('req_04','alice','key_1','transcribe','whisper-1','up','whisper-1','wav','unknown',2000,70,3000,'{"team": "a"}',1756641600000,1756641600000,502,'upstream_error','estimated',2000,NULL,NULL,NULL,NULL,NULL,70,3000,16000,'json',0,'up_1',1756641600001,1756641600002,1756641600003,7,8);
INSERT INTO "requests" VALUES('req_05','bob','key_2','transcribe','whisper-1','up','whisper-1','wav','settled',2000,70,3000,'{}',1756641600000,1756641600000,200,NULL,'upstream',1000,14,14,0,45,59,59,1500,16000,'json',0,'up_1',1756641600001,1756641600002,1756641600003,9,10);
INSERT INTO "requests" VALUES('req_06','bob','key_2','transcribe','whisper-1','up','whisper-1','wav','released',2000,70,3000,'{}',1756641600000,1756641600000,502,'upstream_error',NULL,0,NULL,NULL,NULL,NULL,NULL,0,0,16000,'json',0,'up_1',1756641600001,1756641600002,1756641600003,11,12);
INSERT INTO "requests" VALUES('req_07','bob','key_2','transcribe','whisper-1','up','whisper-1','wav','settled',2000,70,3000,'{}',1756641600000,1756641600000,502,'upstream_error','estimated',600,NULL,NULL,NULL,NULL,NULL,70,500,16000,'json',0,'up_1',1756641600001,1756641600002,1756641600003,13,14);
INSERT INTO "requests" VALUES('req_08','bob','key_2','transcribe','whisper-1','up','whisper-1','wav','unknown',2000,70,3000,'{}',1756641600000,1756641600000,502,'upstream_error','estimated',2000,NULL,NULL,NULL,NULL,NULL,70,3000,16000,'json',0,'up_1',1756641600001,1756641600002,1756641600003,15,16);
INSERT INTO "requests" VALUES('req_09','alice','key_1','transcribe','whisper-1','up','whisper-1','wav','settled',2000,70,3000,'{"team": "a"}',1756728000000,1756728000000,200,NULL,'upstream',1000,14,14,0,45,59,59,1500,16000,'json',0,'up_1',1756728000001,1756728000002,1756728000003,17,18);
INSERT INTO "requests" VALUES('req_10','alice','key_1','transcribe','whisper-1','up','whisper-1','wav','released',2000,70,3000,'{"team": "a"}',1756728000000,1756728000000,502,'upstream_error',NULL,0,NULL,NULL,NULL,NULL,NULL,0,0,16000,'json',0,'up_1',1756728000001,1756728000002,1756728000003,19,20);
INSERT INTO "requests" VALUES('req_11','alice','key_1','transcribe','whisper-1','up','whisper-1','wav','unknown',2000,70,3000,'{"team": "a"}',1756728000000,1756728000000,502,'upstream_error','estimated',2000,NULL,NULL,NULL,NULL,NULL,70,3000,16000,'json',0,'up_1',1756728000001,1756728000002,1756728000003,21,22);
INSERT INTO "requests" VALUES('req_12','alice','key_1','transcribe','whisper-1','up','whisper-1','wav','unknown',2000,70,3000,'{"team": "a"}',1756728000000,1756728000000,502,'upstream_error','estimated',2000,NULL,NULL,NULL,NULL,NULL,70,3000,16000,'json',0,'up_1',1756728000001,1756728000002,1756728000003,23,24);
INSERT INTO "requests" VALUES('req_13','bob','key_2','transcribe','whisper-1','up','whisper-1','wav','settled',2000,70,3000,'{}',1756728000000,1756728000000,200,NULL,'upstream',1000,14,14,0,45,59,59,1500,16000,'json',0,'up_1',1756728000001,1756728000002,1756728000003,25,26);
INSERT INTO "requests" VALUES('req_14','bob','key_2','transcribe','whisper-1','up','whisper-1','wav','released',2000,70,3000,'{}',1756728000000,1756728000000,502,'upstream_error',NULL,0,NULL,NULL,NULL,NULL,NULL,0,0,16000,'json',0,'up_1',1756728000001,1756728000002,1756728000003,27,28);
INSERT INTO "requests" VALUES('req_15','bob','key_2','transcribe','whisper-1','up','whisper-1','wav','unknown',2000,70,3000,'{}',1756728000000,1756728000000,502,'upstream_error','estimated',2000,NULL,NULL,NULL,NULL,NULL,70,3000,16000,'json',0,'up_1',1756728000001,1756728000002,1756728000003,29,30);
INSERT INTO "requests" VALUES('req_16','bob','key_2','transcribe','whisper-1','up','whisper-1','wav','unknown',2000,70,3000,'{}',1756728000000,1756728000000,502,'upstream_error','estimated',2000,NULL,NULL,NULL,NULL,NULL,70,3000,16000,'json',0,'up_1',1756728000001,1756728000002,1756728000003,31,32);
INSERT INTO "requests" VALUES('req_17','alice','key_1','transcribe','whisper-1','up','whisper-1','wav','settled',2000,70,3000,'{"team": "a"}',1795521600000,1795521600000,200,NULL,'upstream',1000,14,14,0,45,59,59,1500,16000,'json',0,'up_1',1795521600001,1795521600002,1795521600003,33,34);
INSERT INTO "requests" VALUES('req_18','alice','key_1','transcribe','whisper-1','up','whisper-1','wav','released',2000,70,3000,'{"team": "a"}',1795521600000,1795521600000,502,'upstream_error',NULL,0,NULL,NULL,NULL,NULL,NULL,0,0,16000,'json',0,'up_1',1795521600001,1795521600002,1795521600003,35,36);
INSERT INTO "requests" VALUES('req_19','alice','key_1','transcribe','whisper-1','up','whisper-1','wav','unknown',2000,70,3000,'{"team": "a"}',1795521600000,1795521600000,502,'upstream_error','estimated',2000,NULL,NULL,NULL,NULL,NULL,70,3000,16000,'json',0,'up_1',1795521600001,1795521600002,1795521600003,37,38);
INSERT INTO "requests" VALUES('req_20','alice','key_1','transcribe','whisper-1','up','whisper-1','wav','unknown',2000,70,3000,'{"team": "a"}',1795521600000,1795521600000,502,'upstream_error','estimated',2000,NULL,NULL,NULL,NULL,NULL,70,3000,16000,'json',0,'up_1',1795521600001,1795521600002,1795521600003,39,40);
INSERT INTO "requests" VALUES('req_21','bob','key_2','transcribe','whisper-1','up','whisper-1','wav','settled',2000,70,3000,'{}',1795521600000,1795521600000,200,NULL,'upstream',1000,14,14,0,45,59,59,1500,16000,'json',0,'up_1',1795521600001,1795521600002,1795521600003,41,42);
INSERT INTO "requests" VALUES('req_22','bob','key_2','transcribe','whisper-1','up','whisper-1','wav','released',2000,70,3000,'{}',1795521600000,1795521600000,502,'upstream_error',NULL,0,NULL,NULL,NULL,NULL,NULL,0,0,16000,'json',0,'up_1',1795521600001,1795521600002,1795521600003,43,44);
INSERT INTO "requests" VALUES('req_23','bob','key_2','transcribe','whisper-1','up','whisper-1','wav','unknown',2000,70,3000,'{}',1795521600000,1795521600000,502,'upstream_error','estimated',2000,NULL,NULL,NULL,NULL,NULL,70,3000,16000,'json',0,'up_1',1795521600001,1795521600002,1795521600003,45,46);
INSERT INTO "requests" VALUES('req_24','bob','key_2','transcribe','whisper-1','up','whisper-1','wav','unknown',2000,70,3000,'{}',1795521600000,1795521600000,502,'upstream_error','estimated',2000,NULL,NULL,NULL,NULL,NULL,70,3000,16000,'json',0,'up_1',1795521600001,1795521600002,1795521600003,47,48);
INSERT INTO "requests" VALUES('req_80','alice','key_1','translate','whisper-1','up','whisper-1','wav','held',2000,70,3000,'{}',1756728000000,1756728000000,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,49,NULL);
INSERT INTO "requests" VALUES('req_81','alice','key_1','translate','whisper-1','up','whisper-1','wav','held',2000,70,3000,'{}',1795521600000,1795521600000,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,50,NULL);
CREATE TABLE resolutions (
    seq INTEGER PRIMARY KEY,
    caller TEXT NOT NULL,
    admitted_ms INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    audio_ms INTEGER NOT NULL,
    charged_tokens INTEGER NOT NULL
) STRICT;
INSERT INTO "resolutions" VALUES(1,'alice',1756641600000,-3000,-2000,-70);
INSERT INTO "resolutions" VALUES(2,'bob',1756641600000,-2500,-1400,0);
CREATE INDEX requests_by_time ON requests (admitted_ms);
CREATE INDEX requests_by_caller ON requests (caller, admitted_ms);
CREATE INDEX requests_held ON requests (caller) WHERE state = 'held';
CREATE INDEX requests_unknown ON requests (id) WHERE state = 'unknown';
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
CREATE INDEX keys_by_caller ON keys (caller);
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;
CREATE INDEX notices_waiting ON notices (next_ms) WHERE delivered_ms IS NULL;
COMMIT;
