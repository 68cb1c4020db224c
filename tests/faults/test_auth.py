"""H: authentication. All bad keys get the same error, too many get another, and each key grants only its own rights."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from app import errors
from app.wire import apikey
from tests.behaviour.caller import CLIP, TRANSCRIPTIONS, connect, error_of, fence, form, post, request_id
from tests.stubs.gateway import ADMIN_KEY, NO_TLS, PROVIDER_KEY, GatewayProcess
from tests.stubs.raw import Headers, Part, RawConnection, RawResponse, request
from tests.stubs.upstream import ScriptedUpstream

UNKNOWN_KEY = apikey.mint(bytes(range(24)))
MISSPELT_KEY = UNKNOWN_KEY[:-1] + ("0" if UNKNOWN_KEY[-1] != "0" else "1")
TEXT = "Missing or invalid API key. Send a key of this gateway as 'Authorization: Bearer sk-agw-...'."
ADMIN_TEXT = errors.invalid_admin_key("").message

ROUTES = [
    ("POST", TRANSCRIPTIONS),
    ("POST", "/v1/speech/translations"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/whisper-1"),
    ("GET", "/v1/usage"),
    ("GET", "/admin/v1/callers"),
    ("POST", "/admin/v1/callers"),
]


def ask(gateway: GatewayProcess, method: str, path: str, headers: Headers, source: str = "127.0.0.1") -> RawResponse:
    """The response to a request head; the body of a POST is declared, and sent only after 100 Continue."""
    form_head = [("Content-Type", "multipart/form-data; boundary=x"), ("Content-Length", "9999")]
    told = [*headers, *([*form_head, ("Expect", "100-continue")] if method == "POST" else [])]
    with RawConnection("127.0.0.1", gateway.port, source=source) as connection:
        connection.send(request(method, path, told))
        return connection.read_response(method)


def bearer(key: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {key}")]


def text_at(path: str) -> str:
    """The message for a bad key at this path; the admin API has its own."""
    return ADMIN_TEXT if path.startswith("/admin/") else TEXT


def is_the_one_refusal(answer: RawResponse, message: str = TEXT) -> None:
    error = error_of(answer)
    assert (answer.status, error["code"], error["type"]) == (401, "invalid_api_key", "invalid_request_error")
    assert (error["message"], error["param"]) == (message, None)
    assert (answer.header("www-authenticate"), answer.interim) == ("Bearer", [])


# -- keys that are none -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ended_keys(gateway: GatewayProcess) -> dict[str, str]:
    """Keys that are no longer valid, with the reason that the log gives."""
    revoked, rotated, expired = (gateway.create_caller(name) for name in ("revoked", "rotated", "expired"))
    for key in (revoked, rotated, expired):
        assert ask(gateway, "GET", "/v1/models", bearer(key)).status == 200
    assert gateway.admin("DELETE", "/callers/revoked/keys").status_code == 200
    assert gateway.admin("POST", "/callers/rotated/keys", {"overlap_hours": 0}).status_code == 201
    with closing(sqlite3.connect(gateway.ledger, timeout=30)) as ledger, ledger:
        ledger.execute("UPDATE keys SET expires_ms = created_ms - 1 WHERE caller = 'expired'")
    return {"revoked": revoked, "rotated": rotated, "expired": expired}


MALFORMED: dict[str, list[tuple[str, str]]] = {
    "missing": [],
    "empty": [("Authorization", "")],
    "blank": [("Authorization", "  ")],
    "a scheme alone": [("Authorization", "Bearer")],
    "a scheme and a blank": [("Authorization", "Bearer ")],
    "another scheme": [("Authorization", f"Basic {UNKNOWN_KEY}")],
    "three words": [("Authorization", "Bearer a b")],
    "short": bearer("sk-1"),
    "the prefix alone": bearer("sk-agw-"),
    "not ASCII": bearer("sk-agw-\xe9"),
    "endless": bearer("sk-agw-" + "a" * 60_000),
    "in a parameter of another kind": [("X-Api-Key", UNKNOWN_KEY), ("Api-Key", UNKNOWN_KEY)],
    "the provider's": bearer(PROVIDER_KEY),
}


@pytest.mark.parametrize("kind", MALFORMED)
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_H125_missing_and_malformed_keys_get_the_same_error_before_the_body(
    gateway: GatewayProcess, kind: str, method: str, path: str
) -> None:
    is_the_one_refusal(ask(gateway, method, path, MALFORMED[kind]), text_at(path))


@pytest.mark.parametrize("dress", ["Bearer {}", "bearer {}", "BEARER   {}", "{}"])
def test_H125_a_valid_key_works_with_and_without_bearer(
    gateway: GatewayProcess, upstream: ScriptedUpstream, dress: str
) -> None:
    answer = post(gateway, form(), headers=[("Authorization", dress.format(gateway.key))])
    assert (answer.status, answer.json()) == (200, {"text": "hello"})
    assert gateway.row(request_id(answer))["caller"] == "team"
    admin = ask(gateway, "GET", "/admin/v1/callers", [("Authorization", dress.format(ADMIN_KEY))])
    assert admin.status == 200


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("second", ["the same", "another", "none"])
def test_H125_two_authorization_headers_are_a_bad_request(
    gateway: GatewayProcess, method: str, path: str, second: str
) -> None:
    keys = {"the same": gateway.key, "another": ADMIN_KEY, "none": ""}
    answer = ask(gateway, method, path, [*bearer(gateway.key), *bearer(keys[second])])
    assert (answer.status, error_of(answer)["code"], answer.interim) == (400, "bad_request", [])


@pytest.mark.parametrize("kind", ["unknown", "misspelt", "revoked", "rotated", "expired"])
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_H126_H127_unknown_revoked_and_expired_keys_get_the_same_error_before_the_body(
    gateway: GatewayProcess, ended_keys: dict[str, str], kind: str, method: str, path: str
) -> None:
    keys = {"unknown": UNKNOWN_KEY, "misspelt": MISSPELT_KEY, **ended_keys}
    is_the_one_refusal(ask(gateway, method, path, bearer(keys[kind])), text_at(path))


def test_H126_only_the_log_has_the_reason(gateway: GatewayProcess, ended_keys: dict[str, str]) -> None:
    words = {
        UNKNOWN_KEY: "no such key",
        ended_keys["revoked"]: "of revoked is revoked",
        ended_keys["rotated"]: "of rotated has expired",
        ended_keys["expired"]: "of expired has expired",
    }
    answers = {key: ask(gateway, "GET", "/v1/models", bearer(key)) for key in words}
    assert len({answer.body for answer in answers.values()}) == 1
    last = ask(gateway, "POST", TRANSCRIPTIONS, [])
    gateway.wait_for_log(request_id(last))
    told = {str(line["message"]) for line in gateway.log_lines("log") if line["logger"] == "audio_gateway.auth"}
    for key, answer in answers.items():
        (line,) = [each for each in told if request_id(answer) in each]
        assert line.startswith(f"request {request_id(answer)} from 127.0.0.1 is refused: ")
        assert line.endswith(words[key])
        assert key not in gateway.log.read_text()
    assert f"request {request_id(last)} from 127.0.0.1 is refused: no key" in told


def test_H127_a_key_with_a_wrong_checksum_is_never_looked_up(tmp_path: Path) -> None:
    """The ledger has no table of keys, so that any lookup fails."""
    with GatewayProcess(tmp_path, "http://127.0.0.1:9/v1") as gateway:
        with closing(sqlite3.connect(gateway.ledger, timeout=30)) as ledger, ledger:
            ledger.execute("DROP TABLE keys")
        is_the_one_refusal(ask(gateway, "POST", TRANSCRIPTIONS, bearer(MISSPELT_KEY)))
        looked_up = ask(gateway, "POST", TRANSCRIPTIONS, bearer(UNKNOWN_KEY))
        assert (looked_up.status, error_of(looked_up)["code"]) == (503, "ledger_unavailable")
        assert ask(gateway, "GET", "/v1/models", bearer(gateway.key)).status == 200


# -- guessing ---------------------------------------------------------------------------------------------------------

MOST = 20


@pytest.fixture
def strict(shared_upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway that accepts few bad keys a minute from one address."""
    settings = f"[server]\nmax_bad_keys = {MOST}"
    with GatewayProcess(tmp_path, shared_upstream.base_url, settings, admin_key=ADMIN_KEY) as process:
        yield process


def guess_until_limited(gateway: GatewayProcess, path: str, source: str = "127.0.0.1") -> RawResponse:
    for number in range(10 * MOST):
        key = apikey.mint(number.to_bytes(apikey.RANDOM_BYTES))
        answer = ask(gateway, "GET", path, [*bearer(key), ("X-Forwarded-For", f"203.0.113.{number}")], source)
        if answer.status != 401:
            assert number >= MOST
            return answer
    raise AssertionError("nobody told it to stop")


def test_H128_too_many_bad_keys_are_limited_by_address_and_valid_keys_still_work(
    strict: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    """Headers that claim another address are ignored."""
    stopped = guess_until_limited(strict, "/v1/models")
    error = error_of(stopped)
    assert (stopped.status, error["code"], error["type"]) == (429, "too_many_bad_keys", "rate_limit_error")
    assert stopped.header("x-should-retry") == "false"
    assert 1 <= int(stopped.header("retry-after") or 0) <= 3
    for method, path in ROUTES:
        again = ask(strict, method, path, bearer(UNKNOWN_KEY))
        assert again.status in (401, 429)  # one more bad key is taken every three seconds
        assert again.interim == []
    assert post(strict, form()).status == 200
    assert ask(strict, "GET", "/v1/usage", bearer(strict.key)).status == 200
    assert ask(strict, "GET", "/admin/v1/callers", bearer(ADMIN_KEY)).status == 200
    assert ask(strict, "GET", "/v1/models", bearer(UNKNOWN_KEY), source="127.0.0.2").status == 401
    assert ask(strict, "GET", "/healthz", []).status == 200


@pytest.mark.parametrize("path", ["/admin/v1/callers", "/v1/usage"])
def test_H128_bad_keys_count_at_every_path(strict: GatewayProcess, path: str) -> None:
    assert guess_until_limited(strict, path).status == 429
    statuses = [ask(strict, method, each, bearer("x")).status for method, each in ROUTES for _ in range(3)]
    assert statuses.count(429) > len(statuses) // 2


def test_H128_a_rejected_upload_is_not_read_and_guesses_are_not_logged_one_by_one(strict: GatewayProcess) -> None:
    for _ in range(2 * MOST):
        last = ask(strict, "POST", TRANSCRIPTIONS, bearer(UNKNOWN_KEY))
        assert last.interim == []
    assert last.status == 429
    line = strict.wait_for_log(request_id(last))
    assert (line["status"], line["error"]) == (429, "too_many_bad_keys")
    reasons = [each for each in strict.log_lines("log") if each["logger"] == "audio_gateway.auth"]
    assert MOST <= len(reasons) < 2 * MOST


# -- what travels on --------------------------------------------------------------------------------------------------

SECRET_HEADERS = [
    ("Cookie", "secret-cookie=1"),
    ("OpenAI-Organization", "secret-org"),
    ("OpenAI-Project", "secret-project"),
    ("OpenAI-Beta", "secret-beta"),
    ("X-Forwarded-For", "203.0.113.77"),
    ("X-Forwarded-Host", "secret.example"),
    ("X-Real-IP", "203.0.113.77"),
    ("Forwarded", "for=203.0.113.77"),
    ("Via", "1.1 secret"),
    ("Proxy-Authorization", "Basic secret"),
    ("Proxy-Connection", "keep-alive"),
    ("TE", "trailers"),
    ("User-Agent", "secret-agent/1"),
    ("Referer", "https://secret.example/"),
    ("Accept", "application/x-secret"),
    ("Accept-Encoding", "gzip"),
    ("X-Request-ID", "secret-id"),
    ("Traceparent", "00-secret"),
    ("X-Gateway-Tag", "secret=1"),
    ("X-Stainless-Lang", "secret"),
    ("Idempotency-Key", "secret"),
    ("Host", "secret.example"),
    ("Api-Key", "secret"),
    ("X-Api-Key", "secret"),
    ("Connection", "X-Secret, keep-alive"),
    ("X-Secret", "1"),
]


def test_H132_no_header_or_framing_of_the_caller_reaches_the_upstream(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    part_headers = (
        ("Content-Disposition", 'form-data; name="file"; filename="../secret name.exe"; filename*=UTF-8\'\'secret.exe'),
        ("Content-Type", "application/x-secret"),
        ("X-Secret", "1"),
    )
    parts = [Part("model", b"whisper-1"), Part("file", CLIP, headers=part_headers)]
    answer = post(gateway, parts, headers=SECRET_HEADERS)
    assert answer.status == 200
    assert request_id(answer) != "secret-id"
    (exchange,) = upstream.journal
    content_type = exchange.header("content-type") or ""
    assert content_type.startswith("multipart/form-data; boundary=")
    assert {name.lower(): value for name, value in exchange.headers} == {
        "host": f"127.0.0.1:{upstream.port}",
        "authorization": f"Bearer {PROVIDER_KEY}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "user-agent": exchange.header("user-agent"),
        "content-type": content_type,
        "transfer-encoding": "chunked",
    }
    assert str(exchange.header("user-agent")).startswith("audio-gateway/")
    assert b"secret" not in exchange.body.replace(CLIP, b"")
    assert b"test-boundary" not in exchange.body
    assert gateway.key.encode() not in exchange.body


def test_H132_no_header_of_a_caller_changes_an_upstream_header(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    assert post(gateway, form()).status == 200
    for name, value in SECRET_HEADERS:
        assert post(gateway, form(), headers=[(name, value)]).status == 200
    seen = [[pair for pair in each.headers if pair[0].lower() != "content-type"] for each in upstream.journal]
    assert len(seen) == 1 + len(SECRET_HEADERS)
    assert all(headers == seen[0] for headers in seen)


# -- whose key opens what ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(gateway: GatewayProcess) -> dict[str, str]:
    """The keys of two callers, each with one request under its own tag, and the admin key."""
    keys = {name: gateway.create_caller(name, tags={"owner": name}) for name in ("alice", "bob")}
    for name, key in keys.items():
        assert gateway.transcribe(key, CLIP, x_gateway_tag=f"by={name}").status_code == 200
    return {**keys, "admin": ADMIN_KEY}


MATRIX: list[tuple[str, str, dict[str, int]]] = [
    ("GET", "/v1/models", {"alice": 200, "bob": 200, "admin": 401}),
    ("GET", "/v1/usage", {"alice": 200, "bob": 200, "admin": 401}),
    ("GET", "/v1/usage?caller=bob", {"alice": 200, "admin": 401}),
    ("POST", TRANSCRIPTIONS, {"admin": 401}),
    ("GET", "/admin/v1/callers", {"alice": 401, "bob": 401, "admin": 200}),
    ("GET", "/admin/v1/callers/bob", {"alice": 401, "bob": 401, "admin": 200}),
    ("POST", "/admin/v1/callers", {"alice": 401, "bob": 401}),
    ("PATCH", "/admin/v1/callers/alice", {"alice": 401, "bob": 401}),
    ("POST", "/admin/v1/callers/alice/keys", {"alice": 401, "bob": 401}),
    ("DELETE", "/admin/v1/callers/bob/keys", {"alice": 401, "bob": 401}),
    ("GET", "/admin/v1/usage", {"alice": 401, "bob": 401, "admin": 200}),
    ("GET", "/admin/v1/usage?caller=alice", {"alice": 401, "bob": 401, "admin": 200}),
    ("GET", "/admin/v1/audit", {"alice": 401, "bob": 401, "admin": 200}),
    ("GET", "/admin/v1/unknown", {"alice": 401, "bob": 401, "admin": 200}),
    ("POST", "/admin/v1/unknown/req_1", {"alice": 401, "bob": 401}),
]


@pytest.mark.parametrize(("method", "path", "expected"), MATRIX, ids=[f"{each[0]} {each[1]}" for each in MATRIX])
def test_H133_each_key_grants_only_its_own_rights(
    gateway: GatewayProcess, both: dict[str, str], method: str, path: str, expected: dict[str, int]
) -> None:
    seen = {name: ask(gateway, method, path, bearer(both[name])).status for name in expected}
    assert seen == expected


@pytest.mark.parametrize(
    "query",
    ["by=caller", "by=caller&caller=bob", "by=key", "by=tag", "by=tag&tag=owner%3Dbob", "by=day&since=2026-01-01"],
)
def test_H133_a_caller_reads_only_its_own_usage(gateway: GatewayProcess, both: dict[str, str], query: str) -> None:
    headers = {"authorization": both["alice"]}
    answer = httpx.get(f"{gateway.base_url}/usage?{query}", headers=headers, timeout=30, **NO_TLS)
    assert answer.status_code == 200
    requests = sum(group["requests"] for group in answer.json()["data"])
    assert requests == (0 if "tag%3D" in query or "owner%3D" in query else 2 if query == "by=tag" else 1)
    assert "bob" not in answer.text
    with closing(sqlite3.connect(gateway.ledger)) as ledger:
        ((bobs,),) = ledger.execute("SELECT id FROM keys WHERE caller = 'bob'").fetchall()
    assert bobs not in answer.text


# -- the admin key ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "fifteen-letters", "sixteen letters!"])
def test_H136_an_invalid_admin_key_stops_the_start(tmp_path: Path, key: str) -> None:
    done = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1", admin_key=key).command("serve")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "AUDIO_GATEWAY_ADMIN_KEY" in done.stderr
    assert not key.strip() or key not in done.stderr


@pytest.mark.parametrize("content", [b"\n", b"\xff\xfe"])
def test_H136_a_file_without_an_admin_key_stops_the_start(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "admin.key"
    file.write_bytes(content)
    done = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1", f'[admin]\nkey_file = "{file}"').command("serve")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert str(file) in done.stderr


@pytest.mark.parametrize("key", ["", "a key of two words"])
def test_H136_an_invalid_provider_key_stops_the_start(tmp_path: Path, key: str) -> None:
    done = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1").command("serve", PROVIDER_KEY=key)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "PROVIDER_KEY" in done.stderr
    assert not key.strip() or key not in done.stderr


def test_H136_without_an_admin_key_there_is_no_admin_api(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, "http://127.0.0.1:9/v1") as gateway:
        for headers in ([], *(bearer(key) for key in (ADMIN_KEY, "admin", "changeme", "", gateway.key))):
            for method, path in ROUTES[-2:]:
                answer = ask(gateway, method, path, headers)
                assert (answer.status, error_of(answer)["code"]) == (404, "unknown_url")


def test_H136_the_admin_key_is_never_shown(gateway: GatewayProcess, both: dict[str, str]) -> None:
    with connect(gateway) as caller:
        caller.send(request("GET", "/admin/v1/audit", bearer(ADMIN_KEY)))
        assert ADMIN_KEY.encode() not in caller.read_response().body
    fence(gateway)
    assert ADMIN_KEY not in gateway.log.read_text()
    assert ADMIN_KEY not in json.dumps(gateway.rows())
