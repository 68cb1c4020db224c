"""Uploads that the gateway or the provider rejects early: the caller reads the response at once."""

import time
from pathlib import Path
from typing import Literal

import pytest
from openai import APIStatusError, AuthenticationError, RateLimitError

from app.wire import apikey
from tests.behaviour.caller import CLIP, begin, connect, error_of, fence, form, post_bytes, request_id, sdk
from tests.sdk import node
from tests.stubs.certificate import certificate, serving
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import chunked, multipart
from tests.stubs.upstream import Reply, ScriptedUpstream, error_answer, sse_answer

Then = Literal["read_on", "close", "hold"]

UNKNOWN_KEY = apikey.mint(bytes(range(24)))
LARGE = CLIP + bytes(25 * 1024 * 1024 - len(CLIP))
TOO_LARGE = CLIP + bytes(27 * 1024 * 1024)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uploads")
    (folder / "large.wav").write_bytes(LARGE)
    (folder / "too_large.wav").write_bytes(TOO_LARGE)
    return folder


def errors(gateway: GatewayProcess) -> list[dict[str, object]]:
    return [line for line in gateway.log_lines() if line["status"] != 200]


# -- rejected by the gateway ------------------------------------------------------------------------------------------


def test_H125_the_python_sdk_reads_a_401_and_sends_its_25_mb_once(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    before = len(errors(gateway))
    with pytest.raises(AuthenticationError) as raised:
        sdk(gateway, UNKNOWN_KEY, retries=2).audio.transcriptions.create(file=LARGE, model="whisper-1")
    assert raised.value.code == "invalid_api_key"
    gateway.wait_for_log(raised.value.request_id or "")
    assert len(errors(gateway)) == before + 1
    assert upstream.journal == []


@pytest.mark.parametrize("audio", [TOO_LARGE, LARGE + b"x"], ids=["by its length", "by its last byte"])
def test_D63_D64_the_python_sdk_reads_a_413_and_sends_its_file_once(
    gateway: GatewayProcess, upstream: ScriptedUpstream, audio: bytes
) -> None:
    before = len(errors(gateway))
    with pytest.raises(APIStatusError) as raised:
        sdk(gateway, retries=2).audio.transcriptions.create(file=audio, model="whisper-1")
    error = raised.value
    assert (error.status_code, error.code, error.param) == (413, "request_too_large", "file")
    gateway.wait_for_log(error.request_id or "")
    assert len(errors(gateway)) == before + 1
    assert [exchange for exchange in upstream.journal if exchange.complete] == []


@pytest.mark.parametrize("mode", ["stream", "bytes"])
@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("large.wav", UNKNOWN_KEY, ("AuthenticationError", 401, "invalid_api_key")),
        ("too_large.wav", None, ("APIError", 413, "request_too_large")),
    ],
)
def test_D63_openai_node_reads_the_error_and_sends_its_file_once(
    gateway: GatewayProcess, folder: Path, mode: str, name: str, key: str | None, expected: tuple[str, int, str]
) -> None:
    before = len(errors(gateway))
    (line,) = node.run(
        {
            "baseURL": gateway.base_url,
            "apiKey": key or gateway.key,
            "file": str(folder / name),
            "model": "whisper-1",
            "mode": mode,
        }
    )
    error = line["error"]
    assert (error["class"], error["status"], error["code"]) == expected
    gateway.wait_for_log(error["request_id"])
    assert len(errors(gateway)) == before + 1


def test_D63_a_connection_is_closed_when_the_rest_does_not_arrive(
    shared_upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """The response comes at once. The gateway waits for the rest of the body as long as `linger` says."""
    settings = "[timeouts]\nlinger = 0.3"
    with GatewayProcess(tmp_path, shared_upstream.base_url, settings) as gateway, connect(gateway) as caller:
        caller.send(post_bytes(gateway, b"", headers=[("Content-Length", "1000"), ("Authorization", "nobody")]))
        answer = caller.read_response()
        assert (answer.status, answer.header("connection")) == (401, "close")
        assert caller.closed(timeout=10)


# -- rejected by the provider -----------------------------------------------------------------------------------------

EARLY: dict[int, tuple[Reply, int, str]] = {
    413: (error_answer(413, "too_big", "Too big for me."), 413, "too_big"),
    429: (error_answer(429, "slow_down", "Slow down.", headers=[("Retry-After", "7")]), 429, "upstream_rate_limited"),
    401: (error_answer(401, "bad_key", "Bad key."), 502, "upstream_auth_failed"),
    402: (error_answer(402, "no_credit", "Pay."), 502, "upstream_out_of_credit"),
    302: (Reply(302, [("Location", "/elsewhere")]), 502, "upstream_redirect"),
    503: (Reply(503, [("Content-Type", "text/html")], b"<html>busy</html>"), 503, "upstream_error"),
}


@pytest.mark.parametrize("then", ["read_on", "close", "hold"])
@pytest.mark.parametrize("status", EARLY)
def test_E82_an_early_response_reaches_a_caller_that_still_sends(
    gateway: GatewayProcess, upstream: ScriptedUpstream, status: int, then: Then
) -> None:
    """The caller has sent only a part of its file, and still reads the response."""
    reply, expected_status, code = EARLY[status]
    upstream.reply(reply.but(when="after_bytes", after=4000, then=then))
    opening = multipart(form(), closing=False)
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([opening], last=b""))
        head = caller.read_until(b"\r\n\r\n").decode()
        assert head.startswith(f"HTTP/1.1 {expected_status} ")
        lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
        body = caller.read_until(b"}}")
        assert f'"code": "{code}"'.encode() in body
        assert lines.get("retry-after") == ("7" if status == 429 else None)
        row = gateway.wait_for_row(lines["x-request-id"], "released")
        assert (row["status"], row["cost_nano_usd"]) == (expected_status, 0)
        caller.send(chunked([b"\r\n--test-boundary--\r\n"]))
        assert caller.closed()
    (exchange,) = upstream.journal
    upstream.wait_until(lambda: exchange.aborted and upstream.connections_open == 0, timeout=10)


@pytest.mark.parametrize("then", ["read_on", "close", "hold"])
@pytest.mark.parametrize("status", EARLY)
def test_E82_the_python_sdk_reads_an_early_response_of_the_provider(
    gateway: GatewayProcess, upstream: ScriptedUpstream, status: int, then: Then
) -> None:
    reply, expected_status, code = EARLY[status]
    upstream.reply(reply.but(when="after_bytes", after=100_000, then=then))
    with pytest.raises(APIStatusError) as raised:
        sdk(gateway).audio.transcriptions.create(file=LARGE, model="whisper-1")
    error = raised.value
    assert (error.status_code, error.code) == (expected_status, code)
    assert isinstance(error, RateLimitError) == (status == 429)
    (exchange,) = upstream.journal
    upstream.wait_until(lambda: exchange.aborted and upstream.connections_open == 0, timeout=10)
    assert gateway.row(error.request_id or "")["state"] == "released"


def test_E85_the_sdk_does_not_retry_a_refused_provider_key(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """It is a 502, which the SDK would retry: it would send 25 MB three times."""
    upstream.default = EARLY[401][0].but(when="after_bytes", after=100_000, then="close")
    with pytest.raises(APIStatusError) as raised:
        sdk(gateway, retries=2).audio.transcriptions.create(file=LARGE, model="whisper-1")
    assert raised.value.code == "upstream_auth_failed"
    assert len(upstream.journal) == 1


def test_E82_a_response_right_after_the_request_head(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    # The upstream reads nothing more, so the next test must not reuse the connection.
    upstream.reply(EARLY[413][0].but(when="after_head", then="hold", close_after="announced"))
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, multipart(form())))
        answer = caller.read_response()
    assert (answer.status, error_of(answer)["code"]) == (413, "too_big")
    assert gateway.row(request_id(answer))["state"] == "released"


@pytest.mark.parametrize("then", ["read_on", "hold"])
def test_E82_an_early_response_over_tls(tmp_path: Path, then: Then) -> None:
    """Except for an upstream that closes at once with unread bytes: the reset may destroy its response."""
    pem = certificate(tmp_path)
    reply, expected_status, code = EARLY[413]
    with (
        ScriptedUpstream(tls=serving(pem)) as upstream,
        GatewayProcess(tmp_path, upstream.base_url, upstream_settings=f'ca_file = "{pem}"') as gateway,
        connect(gateway) as caller,
    ):
        upstream.reply(reply.but(when="after_bytes", after=4000, then=then))
        begin(gateway, caller)
        caller.send(chunked([multipart(form(), closing=False)], last=b""))
        head = caller.read_until(b"\r\n\r\n").decode()
        assert head.startswith(f"HTTP/1.1 {expected_status} ")
        assert f'"code": "{code}"'.encode() in caller.read_until(b"}}")
        upstream.wait_until(lambda: upstream.journal[0].aborted)


def test_E82_a_success_before_the_end_of_the_form_is_ignored(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    released = "state = 'released'"
    before = len(gateway.rows(released))
    upstream.reply(sse_answer(["a"]).but(when="after_head", then="read_on"))
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([multipart(form(), closing=False)], last=b""))
        upstream.wait_for(1)
    upstream.wait_until(lambda: upstream.journal[0].aborted)
    deadline = time.monotonic() + 10
    while len(gateway.rows(released)) == before:
        assert time.monotonic() < deadline, gateway.rows()
        fence(gateway)
    assert gateway.rows("state = 'held'") == []
    assert gateway.rows(released)[-1]["cost_nano_usd"] == 0


@pytest.mark.timeout(30)
def test_E82_an_error_whose_body_never_ends_is_reported_by_its_status(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    endless = error_answer(413, None, "too large").but(when="after_bytes", after=1, body=[(0, b"{"), (60, b"}")])
    upstream.reply(endless)
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([multipart(form(), closing=False)], last=b""))
        answer = caller.read_response()
    assert (answer.status, answer.header("x-should-retry")) == (413, "false")
    assert gateway.wait_for_row(request_id(answer), "released")["status"] == answer.status
