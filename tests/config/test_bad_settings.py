"""Invalid settings: the error is one line with the source, the setting and the reason."""

import json
import re
from pathlib import Path

import pytest

from app.config import (
    load,
)
from tests.config.files import (
    ARRAYS,
    CALLER,
    MODEL,
    PREFIX,
    SECRET,
    UPSTREAM,
    error_of,
    model,
    upstream,
    write_settings,
)

BAD_FILES = {
    "TOML syntax": ("[server\nport = 1", "", "at line 1"),
    "key twice": ("[server]\nport = 1\nport = 2", "", "Cannot overwrite a value"),
    "unknown table": ("[sever]\nport = 1", "sever", "no such setting"),
    "unknown key": ("[server]\nprot = 1", "server.prot", "no such setting"),
    "option of the reader": ("_env_prefix = 'X_'", "_env_prefix", "no such setting"),
    "name of a parameter": ("__pydantic_self__ = 1", "__pydantic_self__", "no such setting"),
    "key of two lines": ('"a\\nb" = 1', "a b", "no such setting"),
    "a number for a table": ("server = 1", "server", "must be a table"),
    "a word for a number": ("[server]\nport = 'http'", "server.port", "must be a whole number"),
    "a port too high": ("[server]\nport = 65536", "server.port", "must be 65535 or less"),
    "a size of nothing": ("[server]\nmax_file_bytes = 0", "server.max_file_bytes", "must be 1 or more"),
    "a number for a word": ("[server]\nhost = 1", "server.host", "must be text"),
    "no time at all": ("[timeouts]\ntotal = 0", "timeouts.total", "must be more than 0"),
    "time without an end": ("[timeouts]\ntotal = inf", "timeouts.total", "finite"),
    "no time": ("[timeouts]\ntotal = nan", "timeouts.total", "finite"),
    "an unknown choice": ("[ledger]\nsynchronous = 'off'", "ledger.synchronous", "'full' or 'normal'"),
    "models as a word": ("models = 'whisper-1'", "models", "must be a list"),
    "no models": ("models = []", "models", "1 or more entries"),
    "model twice": (MODEL + MODEL, "models", "whisper-1 is named twice"),
    "model without a price": ('[[models]]\nid = "m"\ntasks = ["transcribe"]', "models.0.price", "required"),
    "model without an id": (model("'free'", "tasks = ['transcribe']"), "models.0.id", "required"),
    "model with a blank": (model("'free'", "id = 'a b'\ntasks = ['transcribe']"), "models.0.id", "pattern"),
    "model without a task": (model("'free'", "id = 'm'\ntasks = []"), "models.0.tasks", "1 or more entries"),
    "model with an unknown task": (model("'free'", "id = 'm'\ntasks = ['sing']"), "models.0.tasks.0", "'transcribe'"),
    "price as a number": (model("0.006"), "models.0.price", "must be a table"),
    "price as another word": (model("'Free'"), "models.0.price", "must be a table"),
    "price of nothing": (model("{}"), "models.0.price", 'price = "free"'),
    "price of 0": (model("{ per_minute = 0 }"), "models.0.price", 'price = "free"'),
    "tokens of 0": (model("{ input = 0, output = 0, per_minute = 1 }"), "models.0.price", 'price = "free"'),
    "minutes of 0": (model("{ input = 1, output = 1, per_minute = '0.0' }"), "models.0.price", 'price = "free"'),
    "price of input alone": (model("{ input = 1 }"), "models.0.price", "both input and output"),
    "price of output beside minutes": (
        model("{ output = 1, per_minute = 1 }"),
        "models.0.price",
        "both input and output",
    ),
    "price of audio alone": (model("{ audio_input = 1, per_minute = 1 }"), "models.0.price", "both input and output"),
    "price below 0": (model("{ per_minute = -1 }"), "models.0.price.per_minute", "between 0 and 1000000"),
    "price beyond all": (model("{ per_minute = 1e7 }"), "models.0.price.per_minute", "between 0 and 1000000"),
    "price that is no number": (model("{ per_minute = nan }"), "models.0.price.per_minute", "between 0 and 1000000"),
    "price as a phrase": (model("{ per_minute = '1 cent' }"), "models.0.price.per_minute", "number of dollars"),
    "price as a truth": (model("{ per_minute = true }"), "models.0.price.per_minute", "number of dollars"),
    "unknown key of a price": (model("{ per_second = 1 }"), "models.0.price.per_second", "no such setting"),
    "no tokens a minute": (
        model("{ input = 1, output = 1, max_tokens_per_minute = 0 }"),
        "models.0.price.max_tokens_per_minute",
        "must be 1 or more",
    ),
    "no upstream": ("upstreams = []", "upstreams", "1 or more entries"),
    "two upstreams": (UPSTREAM * 2, "upstreams", "1 or fewer entries"),
    "upstream without a key": (upstream(""), "upstreams.0", "exactly one of api_key_env and api_key_file"),
    "upstream with two keys": (
        upstream("api_key_env = 'X'\napi_key_file = '/x'"),
        "upstreams.0",
        "exactly one of api_key_env and api_key_file",
    ),
    "upstream with its key in the file": (upstream(f"api_key = '{SECRET}'"), "upstreams.0.api_key", "no such setting"),
    "base URL with a user": (
        upstream("api_key_env = 'X'", f"https://user:{SECRET}@example.org/v1"),
        "upstreams.0.base_url",
        "without user",
    ),
    "base URL with a query": (upstream("api_key_env = 'X'", "https://example.org/?x"), "upstreams.0.base_url", "query"),
    "base URL without a scheme": (upstream("api_key_env = 'X'", "example.org/v1"), "upstreams.0.base_url", "http"),
    "base URL of another scheme": (upstream("api_key_env = 'X'", "file:///etc"), "upstreams.0.base_url", "http"),
    "path without a slash": (
        upstream("api_key_env = 'X'\ntranscriptions_path = 'audio'"),
        "upstreams.0.transcriptions_path",
        "begin with /",
    ),
    "unknown scheme": (upstream("api_key_env = 'X'\nauth_scheme = 'Basic'"), "upstreams.0.auth_scheme", "'Bearer'"),
    "unknown framing": (upstream("api_key_env = 'X'\nframing = 'gzip'"), "upstreams.0.framing", "'chunked'"),
    "no room for any upload": ("[server]\nspool_total_bytes = 1048575", "server.spool_total_bytes", "1048576"),
    "caller twice": (CALLER + CALLER, "callers", "alice is named twice"),
    "caller without a key": ("[[callers]]\nname = 'a'", "callers.0", "exactly one of key_sha256 and key_env"),
    "caller with two keys": (
        f"[[callers]]\nname = 'a'\nkey_env = 'X'\nkey_sha256 = '{'a' * 64}'",
        "callers.0",
        "exactly one of key_sha256 and key_env",
    ),
    "caller with a key for a hash": (
        f"[[callers]]\nname = 'a'\nkey_sha256 = '{SECRET}'",
        "callers.0.key_sha256",
        "pattern",
    ),
    "caller with a strange name": ("[[callers]]\nname = 'a b'\nkey_env = 'X'", "callers.0.name", "pattern"),
    "caller with an unknown model": (
        CALLER + "models = ['whisper-1', 'whisper-2']",
        "callers",
        "alice.models: 'whisper-2' is not in the catalogue",
    ),
    "caller with an unknown task": (CALLER + "tasks = ['sing']", "callers.0.tasks.0", "'transcribe' or 'translate'"),
    "caller with a rate of 0": (CALLER + "rpm = 0", "callers.0", "rpm: must be a whole number of 1 or more"),
    "caller with a burst of no rate": (CALLER + "burst = 5", "callers.0", "burst: needs rpm"),
    "caller with no room at all": (CALLER + "concurrency = 0", "callers.0", "concurrency: must be a whole number"),
    "caller with no budget": (
        CALLER + "budgets = ['50eur/month']",
        "callers.0",
        "'50eur/month' is not a budget such as",
    ),
    "caller with a budget of 0": (
        CALLER + "budgets = ['0usd/day']",
        "callers.0",
        "the amount is 0, too small or too large",
    ),
    "caller with a budget twice": (
        CALLER + "budgets = ['1usd/day', '2usd/day']",
        "callers.0",
        "two of the same unit and window",
    ),
    "caller with a budget as a word": (CALLER + "budgets = '1usd/day'", "callers.0.budgets", "must be a list"),
    "caller with a bad tag": (CALLER + "tags = { Team = 'x' }", "callers.0", "tags: a key is lower-case"),
    "caller with a tag of a number": (CALLER + "tags = { team = 1 }", "callers.0.tags.team", "must be text"),
    "caller with nine tags": (
        CALLER + "tags = { " + ", ".join(f"t{n} = 'x'" for n in range(9)) + " }",
        "callers.0",
        "tags: must be a table of 8",
    ),
    "a burst of no rate": ("[limits]\nburst = 5", "limits", "burst: needs rpm"),
    "a limit of nothing": ("[limits]\nrpm = 0", "limits.rpm", "must be 1 or more"),
    "a limit beyond all": ("[limits]\nconcurrency = 1000001", "limits.concurrency", "must be 1000000 or less"),
    "a budget for all": ("[limits]\nbudgets = ['1usd']", "limits.budgets", "no such setting"),
    "admin key in the file": (f"[admin]\nkey = '{SECRET}'", "admin.key", "no such setting"),
    "a threshold for a list": ("[alerts]\nthresholds = 80", "alerts.thresholds", "must be a list"),
    "a threshold of 0": ("[alerts]\nthresholds = [0]", "alerts.thresholds.0", "must be 1 or more"),
    "a threshold beyond all": ("[alerts]\nthresholds = [1001]", "alerts.thresholds.0", "must be 1000 or less"),
    "a webhook with no secret": (
        "[alerts]\nwebhook_url = 'https://example.org'",
        "alerts",
        "exactly one of webhook_secret_env and webhook_secret_file",
    ),
    "a webhook with two secrets": (
        "[alerts]\nwebhook_url = 'https://example.org'\nwebhook_secret_env = 'X'\nwebhook_secret_file = '/x'",
        "alerts",
        "exactly one of webhook_secret_env and webhook_secret_file",
    ),
    "a webhook with a user": (
        f"[alerts]\nwebhook_url = 'https://user:{SECRET}@example.org'\nwebhook_secret_env = 'X'",
        "alerts.webhook_url",
        "pattern",
    ),
    "a certificate without its key": ("[tls]\ncertificate_file = 'x'", "tls", "both certificate_file and key_file"),
    "a proxy by its name": ("[server]\nforwarded_allow_ips = ['proxy']", "server.forwarded_allow_ips.0", "proxy"),
    "every proxy": ("[server]\nforwarded_allow_ips = ['*']", "server.forwarded_allow_ips.0", "'*'"),
    "an origin with a path": ("[cors]\norigins = ['https://x.example/app']", "cors.origins.0", "pattern"),
    "an origin without a scheme": ("[cors]\norigins = ['x.example']", "cors.origins.0", "pattern"),
    "an origin with a wildcard": ("[cors]\norigins = ['https://*.example']", "cors.origins.0", "pattern"),
    "a webhook that is no URL": (
        "[alerts]\nwebhook_url = 'example.org'\nwebhook_secret_env = 'X'",
        "alerts.webhook_url",
        "pattern",
    ),
}


@pytest.mark.parametrize(("text", "key", "reason"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_an_error_in_the_file_names_file_setting_and_reason(text: str, key: str, reason: str, tmp_path: Path) -> None:
    file = write_settings(tmp_path, text)
    line = error_of(file, {})
    assert line.startswith(f"{file}: {key}: " if key else f"{file}: ")
    assert reason in line
    assert not re.search("Input should|Value error|should (have|match)|valid (tuple|dictionary|integer)", line)
    assert SECRET not in line


BAD_VARIABLES = {
    "unknown section": ("SEVER__PORT", "1", "no such setting"),
    "unknown key": ("SERVER__PROT", "1", "no such setting"),
    "section as a whole": ("SERVER", "{}", "no such setting"),
    "item of an array": ("MODELS__0__ID", "x", "no such setting"),
    "other case": ("SERVER__port", "1", "no such setting"),
    "prefix alone": ("", "1", "no such setting"),
    "empty number": ("SERVER__PORT", "", "server.port: must be a whole number"),
    "word for a number": ("SERVER__PORT", "http", "server.port: must be a whole number"),
    "word for a truth": ("SERVER__DOCS", "perhaps", "server.docs: must be true or false"),
    "time without an end": ("TIMEOUTS__TOTAL", "inf", "timeouts.total: must be a finite number"),
    "limit of nothing": ("LIMITS__RPM", "0", "limits.rpm: must be 1 or more"),
    "thresholds as a number": ("ALERTS__THRESHOLDS", "80", "must be a JSON array"),
    "threshold of 0": ("ALERTS__THRESHOLDS", "[0]", "alerts.thresholds.0: must be 1 or more"),
    "unknown choice": ("LEDGER__SYNCHRONOUS", "off", "ledger.synchronous: must be 'full' or 'normal'"),
    "bad JSON inside of a section": ("ALERTS__THRESHOLDS", "[50", "is not valid JSON"),
    "bad JSON": ("MODELS", "[{id=1}]", "is not valid JSON"),
    "empty JSON": ("CALLERS", "", "is not valid JSON"),
    "deep JSON": ("CALLERS", "[" * 100_000, "is not valid JSON"),
    "JSON object": ("CALLERS", "{}", "must be a JSON array"),
    "JSON null": ("UPSTREAMS", "null", "must be a JSON array"),
    "empty array": ("MODELS", "[]", "models: must have 1 or more entries"),
    "bad item": (
        "CALLERS",
        '[{"name": "a b", "key_env": "X"}]',
        "callers.0.name: has characters or a form that is not allowed",
    ),
    "caller with an unknown model": (
        "CALLERS",
        '[{"name": "a", "key_env": "X", "models": ["y"]}]',
        "callers: a.models: 'y' is not in the catalogue",
    ),
    "item twice": ("CALLERS", json.dumps(ARRAYS["callers"] * 2), "callers: x is named twice"),
}


@pytest.mark.parametrize(("name", "value", "reason"), BAD_VARIABLES.values(), ids=BAD_VARIABLES.keys())
def test_an_error_in_a_variable_names_variable_and_reason(name: str, value: str, reason: str, tmp_path: Path) -> None:
    line = error_of(write_settings(tmp_path, CALLER), {f"{PREFIX}{name}": value})
    assert line.startswith(f"environment variable {PREFIX}{name}: {reason}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert error_of(tmp_path / "none.toml", {}) == f"{tmp_path / 'none.toml'}: No such file or directory"
    assert error_of(tmp_path, {}) == f"{tmp_path}: Is a directory"


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    file = tmp_path / "latin.toml"
    file.write_bytes(b"# gr\xf6\xdfe")
    assert error_of(file, {}).startswith(f"{file}: 'utf-8' codec")


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    file = tmp_path / "marked.toml"
    file.write_bytes(b"\xef\xbb\xbf[server]\nport = 9")
    assert load(file, {}).server.port == 9


def test_a_variable_does_not_hide_an_error_in_the_file(tmp_path: Path) -> None:
    file = write_settings(tmp_path, "server = 1")
    assert error_of(file, {"AUDIO_GATEWAY_SERVER__PORT": "1"}).startswith(f"{file}: server: ")
    file = write_settings(tmp_path, "[server]\nhost = 1")
    assert error_of(file, {"AUDIO_GATEWAY_SERVER__PORT": "1"}).startswith(f"{file}: server.host: ")
