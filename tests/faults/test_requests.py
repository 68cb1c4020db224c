"""A: valid requests: hosts and paths, methods and types, Expect, and pipelining."""

import pytest

from app.wire import apikey
from tests.behaviour.caller import (
    CLIP,
    FORM,
    TRANSCRIPTIONS,
    connect,
    error_of,
    form,
    post,
    post_bytes,
    request_id,
)
from tests.faults.heads import HEALTH, HOST, audio, head
from tests.faults.outcomes import counts_refusals, refused, refused_and_closed
from tests.stubs.gateway import ADMIN_KEY, GatewayProcess
from tests.stubs.raw import Headers, RawResponse, chunked, multipart, request
from tests.stubs.upstream import ScriptedUpstream, json_answer

UNKNOWN_KEY = apikey.mint(bytes(range(24)))
WHOLE = multipart(form())

# -- paths and hosts --------------------------------------------------------------------------------------------------

STRANGE_PATHS = (
    "/",
    "/v1",
    "/v1/audio",
    "/v1/audio/speech",
    "/v1/chat/completions",
    "/v1/audio/transcriptions/",
    "/v1/audio/transcriptions;x=1",
    "/v1/audio/transcriptions%00",
    "/v1/audio/transcriptions%3f",
    "/v1/audio/%74ranscriptions",
    "/v1/audio%2ftranscriptions",
    "/v1/audio/../audio/transcriptions",
    "/v1/./audio/transcriptions",
    "/v1/%2e%2e/v1/audio/transcriptions",
    "/v1//audio/transcriptions",
    "//v1/audio/transcriptions",
    "///v1/audio/transcriptions",
    "/V1/audio/transcriptions",
    "/v1/audio/transcriptions\\",
    "/@evil",
    "/%61dmin/v1/callers",
    "/admin%2fv1/callers",
    "/admin",
    "http://evil.example/",
    "*",
)
METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "POST", "DELETE", "PATCH", "TRACE")


def ask(gateway: GatewayProcess, method: str, path: str, headers: Headers | None = None) -> RawResponse:
    with connect(gateway) as caller:
        caller.send(request(method, path, [("Authorization", gateway.key)] if headers is None else headers))
        return caller.read_response(method)


@pytest.mark.parametrize("path", STRANGE_PATHS)
def test_A9_paths_are_compared_byte_for_byte(gateway: GatewayProcess, upstream: ScriptedUpstream, path: str) -> None:
    for method in METHODS:
        answer = ask(gateway, method, path)
        assert (answer.status, answer.header("content-type")) == (404, "application/json"), method
        assert request_id(answer)
        if method != "HEAD":
            refused(answer, 404, "unknown_url")
            assert error_of(answer)["message"].startswith(f"Unknown request URL: {method} ")
    assert upstream.journal == []


@pytest.mark.parametrize("address", ["http://evil.example", "https://user:secret@evil.example:1", "HTTP://[::1]"])
def test_A9_of_an_absolute_url_the_path_counts(
    gateway: GatewayProcess, upstream: ScriptedUpstream, address: str
) -> None:
    assert ask(gateway, "GET", f"{address}/v1/models").status == 200
    refused(ask(gateway, "GET", f"{address}/v1/models", []), 401, "invalid_api_key")
    refused(ask(gateway, "GET", f"{address}/admin/v1/callers"), 401, "invalid_api_key")
    assert post(gateway, form(), f"{address}{TRANSCRIPTIONS}").status == 200
    assert upstream.journal[0].header("host") == f"127.0.0.1:{upstream.port}"


def test_A9_a_model_name_may_be_percent_encoded(gateway: GatewayProcess) -> None:
    assert ask(gateway, "GET", "/v1/models/whisper%2d1").json()["id"] == "whisper-1"
    refused(ask(gateway, "GET", "/v1/models/%2e%2e%2fusage"), 404, "model_not_found", "model")
    refused(ask(gateway, "GET", "/v1/models/whisper-1%00"), 404, "model_not_found", "model")


@pytest.mark.parametrize(
    "host", ["gateway.test", "a.b-c_d:8080", "127.0.0.1:1", "[::1]:80", "a:", "admin", "xn--a.example."]
)
def test_A8_a_host_decides_nothing(gateway: GatewayProcess, host: str) -> None:
    assert ask(gateway, "GET", "/healthz", [("Host", host)]).status == 200
    refused(ask(gateway, "GET", "/v1/models", [("Host", host)]), 401, "invalid_api_key")
    keys = {gateway.key: 401, ADMIN_KEY: 200}
    for key, status in keys.items():
        answer = ask(gateway, "GET", "/admin/v1/callers", [("Host", host), ("Authorization", f"Bearer {key}")])
        assert answer.status == status


def test_A8_an_invalid_host_does_not_open_the_admin_api(gateway: GatewayProcess) -> None:
    for path in ("/admin/v1/callers", "/v1/models"):
        for key in (gateway.key, ADMIN_KEY):
            answer = ask(gateway, "GET", path, [("Host", "a/#@b"), ("Authorization", f"Bearer {key}")])
            refused(answer, 400, "bad_request")


def test_A11_http_1_0_gets_a_response_and_is_closed(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Without a Host, whatever its Connection header says, and without 100 Continue."""
    more = [("Connection", "keep-alive"), ("Expect", "100-continue")]
    data = post_bytes(gateway, WHOLE, headers=more).replace(b" HTTP/1.1\r\nHost: gateway.test", b" HTTP/1.0")
    with connect(gateway) as caller:
        caller.send(data)
        answer = caller.read_response()
        assert (answer.status, answer.interim, answer.header("connection")) == (200, [], "close")
        assert caller.closed(20)
    assert upstream.journal[0].file.data == CLIP


# -- one connection, several requests ---------------------------------------------------------------------------------


def test_A12_pipelined_requests_get_responses_in_order(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Each has its own key: none inherits the key of the request before."""
    upstream.default = lambda exchange: json_answer(exchange.fields("prompt")[0])
    first, second = (post_bytes(gateway, multipart(form(fields=[("prompt", name)]))) for name in ("one", "two"))
    stranger = post_bytes(gateway, WHOLE, headers=[("Authorization", UNKNOWN_KEY)])
    keyless = audio(FORM, body=WHOLE)
    with connect(gateway) as caller:
        caller.send(first + second + request("GET", "/v1/models") + stranger + keyless)
        responses = [caller.read_response() for _ in range(4)]
    assert [response.status for response in responses] == [200, 200, 401, 401]
    assert [response.json()["text"] for response in responses[:2]] == ["one", "two"]
    assert [gateway.row(request_id(response))["state"] for response in responses[:2]] == ["settled"] * 2
    assert len(upstream.journal) == 2


def test_A12_a_chunked_request_ends_at_its_last_chunk(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    chunks = [("Transfer-Encoding", "chunked")]
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, chunked([WHOLE]), headers=chunks) + request("GET", "/v1/models"))
        assert [caller.read_response().status for _ in range(2)] == [200, 401]


def test_A12_a_body_is_not_a_request(gateway: GatewayProcess) -> None:
    """Neither an unread body nor the body of a rejected request."""
    inner = request("GET", "/v1/models", [("Authorization", gateway.key)])
    length = ("Content-Length", str(len(inner)))
    with connect(gateway) as caller:
        caller.send(request("GET", "/healthz", [length]) + inner + HEALTH)
        assert [caller.read_response().json() for _ in range(2)] == [{"status": "ok"}] * 2
        caller.send(audio(FORM, ("Authorization", UNKNOWN_KEY), length) + inner + HEALTH)
        refused_and_closed(caller, 401, "invalid_api_key")


@pytest.mark.parametrize(
    "second",
    [
        b"extra bytes",
        b"\x00garbage",
        head(b"GET http://:x/ HTTP/1.1", HOST),
        audio(("Transfer-Encoding", "chunked")) + b"zz\r\n",
        audio(("Content-Length", "5"), ("Transfer-Encoding", "chunked")),
    ],
    ids=["words", "garbage", "url", "chunk", "A1"],
)
def test_A12_an_invalid_request_does_not_affect_the_response_before_it(
    gateway: GatewayProcess, upstream: ScriptedUpstream, second: bytes
) -> None:
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, WHOLE) + second)
        answer = caller.read_response()
        assert answer.status == 200
        assert caller.closed(20)
    assert gateway.row(request_id(answer))["state"] == "settled"
    assert len(upstream.journal) == 1


def test_A12_bytes_after_the_last_request_are_not_read(gateway: GatewayProcess) -> None:
    with connect(gateway) as caller:
        caller.send(request("GET", "/healthz", [("Connection", "close")]) + HEALTH)
        assert caller.read_response().header("connection") == "close"
        assert caller.closed(20)


# -- Expect -----------------------------------------------------------------------------------------------------------


def spent_key(gateway: GatewayProcess) -> str:
    """Returns the key of a caller whose budget one request has spent."""
    key = gateway.create_caller(f"spent-{len(gateway.rows())}", budgets=["0.000001usd/month"])
    assert gateway.transcribe(key, CLIP).status_code == 200
    return key


EARLY: dict[str, tuple[int, str, list[tuple[str, str]]]] = {
    "key": (401, "invalid_api_key", [("Authorization", f"Bearer {UNKNOWN_KEY}")]),
    "size": (413, "request_too_large", [("Content-Length", str(27 * 1024 * 1024))]),
    "type": (415, "invalid_content_type", [("Content-Type", "application/json")]),
    "encoding": (415, "unsupported_content_encoding", [("Content-Encoding", "gzip")]),
    "boundary": (400, "invalid_multipart", [("Content-Type", "multipart/form-data")]),
}


@pytest.mark.parametrize(("status", "code", "headers"), EARLY.values(), ids=EARLY.keys())
def test_A14_a_rejected_caller_with_expect_sends_no_body(
    gateway: GatewayProcess, upstream: ScriptedUpstream, status: int, code: str, headers: list[tuple[str, str]]
) -> None:
    size = [] if headers[0][0] == "Content-Length" else [("Content-Length", "1000000")]
    trace = counts_refusals(gateway, *([] if status == 401 else [code]))
    with trace, connect(gateway) as caller:
        caller.send(post_bytes(gateway, b"", headers=[*headers, *size, ("Expect", "100-continue")]))
        answer = refused_and_closed(caller, status, code, "file" if status == 413 else None)
        assert answer.interim == []
    assert upstream.journal == []


def test_A14_a_caller_with_a_spent_budget_sends_no_body(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    more = [("Authorization", spent_key(gateway)), ("Content-Length", "1000000"), ("Expect", "100-continue")]
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, b"", headers=more))
        answer = caller.read_response()
        assert (answer.status, error_of(answer)["code"], answer.interim) == (429, "insufficient_quota", [])
        assert (answer.header("connection"), answer.header("x-should-retry")) == ("close", "false")
        assert caller.closed(20)
    assert len(upstream.journal) == 1


def test_A15_a_caller_with_expect_gets_100_continue(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with connect(gateway) as caller:
        more = [("Content-Length", str(len(WHOLE))), ("Expect", "100-continue")]
        caller.send(post_bytes(gateway, b"", headers=more))
        assert caller.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
        assert upstream.journal == []
        caller.send(WHOLE)
        answer = caller.read_response()
    assert (answer.status, answer.interim) == (200, [])
    assert upstream.journal[0].header("expect") is None
    assert gateway.row(request_id(answer))["state"] == "settled"


@pytest.mark.parametrize("value", ["200-ok", "100", "100-continue, 200-ok", "", "x" * 5000])
def test_A16_an_unknown_expectation_is_ignored(gateway: GatewayProcess, upstream: ScriptedUpstream, value: str) -> None:
    answer = post(gateway, form(), headers=[("Expect", value)])
    assert (answer.status, answer.interim) == (200, [])


def test_A16_a_caller_with_an_unknown_expectation_reads_an_early_error(gateway: GatewayProcess) -> None:
    more = [("Authorization", UNKNOWN_KEY), ("Expect", "200-ok")]
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, bytes(5_000_000), headers=more))
        refused(caller.read_response(), 401, "invalid_api_key")


# -- methods and types ------------------------------------------------------------------------------------------------

GET_PATHS = ("/v1/models", "/v1/models/whisper-1", "/v1/usage", "/healthz", "/readyz")
POST_PATHS = tuple(f"/v1/{noun}/{task}" for noun in ("audio", "speech") for task in ("transcriptions", "translations"))


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        *((path, "GET, HEAD, OPTIONS") for path in (*GET_PATHS, "/docs", "/openapi.json")),
        *((path, "OPTIONS, POST") for path in POST_PATHS),
    ],
)
def test_A17_a_wrong_method_gets_405_with_allow(gateway: GatewayProcess, path: str, allowed: str) -> None:
    for method in (*METHODS, "QUERY", "PROPFIND"):
        if method in allowed:
            continue
        answer = ask(gateway, method, path)
        assert (answer.status, answer.header("allow")) == (405, allowed), method
        assert answer.header("content-type") == "application/json"
        assert request_id(answer)
        if method != "HEAD":
            refused(answer, 405, "method_not_allowed")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/mixed; boundary=test-boundary",
        "multipart/form-database; boundary=test-boundary",
        "text/plain; multipart/form-data; boundary=test-boundary",
        "multipart/form-data, multipart/form-data; boundary=test-boundary",
        "",
    ],
)
def test_A17_a_wrong_content_type_gets_415(
    gateway: GatewayProcess, upstream: ScriptedUpstream, content_type: str
) -> None:
    with counts_refusals(gateway, "invalid_content_type"):
        refused(post(gateway, form(), headers=[("Content-Type", content_type)]), 415, "invalid_content_type")
    assert upstream.journal == []


def test_A17_a_missing_content_type_gets_415(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with connect(gateway) as caller:
        caller.send(audio(("Authorization", gateway.key), body=b'{"model": "whisper-1"}'))
        refused(caller.read_response(), 415, "invalid_content_type")
    assert upstream.journal == []


@pytest.mark.parametrize("second", ["application/json", FORM[1]])
def test_A17_two_content_types_are_rejected(gateway: GatewayProcess, upstream: ScriptedUpstream, second: str) -> None:
    refused(post(gateway, form(), headers=[FORM, ("Content-Type", second)]), 400, "bad_request")
    assert upstream.journal == []


@pytest.mark.parametrize("values", [["gzip"], ["br"], ["x"], ["identity, gzip"], ["identity", "gzip"]])
def test_A18_a_content_encoding_gets_415(
    gateway: GatewayProcess, upstream: ScriptedUpstream, values: list[str]
) -> None:
    with counts_refusals(gateway, "unsupported_content_encoding"):
        answer = post(gateway, form(), headers=[("Content-Encoding", value) for value in values])
        refused(answer, 415, "unsupported_content_encoding")
    assert upstream.journal == []


def test_A18_the_identity_encoding_is_accepted(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    assert post(gateway, form(), headers=[("Content-Encoding", "Identity")]).status == 200
