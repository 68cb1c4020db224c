"""What the provider does wrong: the caller's status and code, whether a repeat is sensible, and what the row says."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from openai import APIError, APIStatusError, InternalServerError, RateLimitError

from tests.behaviour.caller import CLIP, connect, error_of, form, post, post_bytes, request_id, sdk
from tests.stubs.gateway import PROVIDER_KEY, GatewayProcess
from tests.stubs.raw import RawResponse, multipart
from tests.stubs.upstream import (
    TOKENS,
    Reply,
    ScriptedUpstream,
    error_answer,
    json_answer,
    no_answer,
    sse_answer,
    sse_frame,
    text_answer,
)

HTML = "<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"


def html(status: int) -> Reply:
    return Reply(status, [("Content-Type", "text/html")], HTML.encode())


def json_bytes(body: bytes, status: int = 200) -> Reply:
    return Reply(status, [("Content-Type", "application/json")], body)


def row_of(gateway: GatewayProcess, answer: RawResponse) -> dict[str, Any]:
    return gateway.row(request_id(answer))


def is_charged_at_its_hold(row: dict[str, Any]) -> bool:
    charged = (row["cost_nano_usd"], row["audio_ms"], row["source"])
    return charged == (row["bound_nano_usd"], row["bound_audio_ms"], "estimated")


# -- answers that are none --------------------------------------------------------------------------------------------

# Each with the caller's status and code. Nobody knows whether the provider has done its work: no repeat, and the hold.
UNKNOWN: dict[str, tuple[Reply, int, str]] = {
    "reset without an answer": (no_answer("reset"), 502, "upstream_error"),
    "closed without an answer": (no_answer("close"), 502, "upstream_error"),
    "reset in the head": (Reply(framing="raw", raw=b"HTTP/1.1 200 OK\r\nConte", cut="reset"), 502, "upstream_error"),
    "not HTTP": (Reply(framing="raw", raw=b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), 502, "upstream_error"),
    "JSON cut by a reset": (json_answer("hello", TOKENS).but(cut_after=20), 502, "upstream_error"),
    "JSON cut by a close": (json_answer("hello", TOKENS).but(cut_after=20, cut="close"), 502, "upstream_error"),
    "JSON cut in a chunk": (
        json_answer("hello").but(framing="chunked", cut_after=9, cut="close"),
        502,
        "upstream_error",
    ),
    "JSON cut between chunks": (
        Reply(
            headers=[("Content-Type", "application/json")], body=[(0, b'{"text": '), (0, b'"a"}')], framing="chunked"
        ).but(cut_after=9, cut="close"),
        502,
        "upstream_error",
    ),
    "half a JSON document": (json_bytes(b'{"text": "hel'), 502, "upstream_bad_response"),
    "JSON that is no object": (json_bytes(b'["hello"]'), 502, "upstream_bad_response"),
    "no JSON at all": (text_answer("hello"), 502, "upstream_bad_response"),
    "an HTML page": (html(200), 502, "upstream_bad_response"),
    "nothing": (json_bytes(b""), 502, "upstream_bad_response"),
    "compressed": (
        json_answer("hello").but(headers=[("Content-Type", "application/json"), ("Content-Encoding", "gzip")]),
        502,
        "upstream_bad_response",
    ),
    "an error cut short": (error_answer(500, "x", "y").but(cut_after=10), 502, "upstream_error"),
    "408": (error_answer(408, "timeout", "Too slow."), 504, "upstream_timeout"),
    "504": (error_answer(504, "timeout", "Too slow."), 504, "upstream_timeout"),
    "524": (html(524), 504, "upstream_timeout"),
}


@pytest.mark.parametrize("fault", UNKNOWN)
def test_what_may_have_been_billed_is_not_to_be_repeated_and_stays_charged(
    gateway: GatewayProcess, upstream: ScriptedUpstream, fault: str
) -> None:
    reply, status, code = UNKNOWN[fault]
    upstream.reply(reply)
    answer = post(gateway, form())
    error = error_of(answer)
    assert (answer.status, error["code"], error["type"]) == (status, code, "server_error")
    assert answer.header("x-should-retry") == "false"
    row = row_of(gateway, answer)
    assert (row["state"], row["status"], row["error"]) == ("unknown", status, code)
    assert is_charged_at_its_hold(row)
    line = gateway.wait_for_log(request_id(answer))
    assert (line["status"], line["error"], line["state"], line["level"]) == (status, code, "unknown", "warning")
    assert len(upstream.journal) == 1


@pytest.mark.parametrize("response_format", ["text", "srt", "vtt"])
def test_an_html_page_is_no_transcript(
    gateway: GatewayProcess, upstream: ScriptedUpstream, response_format: str
) -> None:
    upstream.reply(text_answer(HTML))
    answer = post(gateway, form(fields=[("response_format", response_format)]))
    assert (answer.status, error_of(answer)["code"]) == (502, "upstream_bad_response")
    assert row_of(gateway, answer)["state"] == "unknown"


def test_the_log_shows_an_unreadable_error_and_never_a_transcript(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    page = f"<html>a gateway's page that echoes {PROVIDER_KEY} {'x' * 2000}</html>"
    upstream.reply(text_answer(page, "text/html").but(status=404), json_bytes(b'{"text": "the secret words'))
    assert post(gateway, form()).status == 502
    answer = post(gateway, form())
    gateway.wait_for_log(request_id(answer))
    messages = [str(line["message"]) for line in gateway.log_lines("log")]
    (shown,) = [message for message in messages if "a gateway's page" in message]
    assert "[redacted]" in shown
    assert len(shown) < 1200
    assert any("a success of the provider cannot be used" in message for message in messages)
    assert "the secret words" not in gateway.log.read_text()


def test_an_answer_above_what_is_held_is_given_up(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(json_bytes(b'{"text": "' + b"a" * (32 * 1024 * 1024) + b'"}'))
    answer = post(gateway, form())
    assert (answer.status, error_of(answer)["code"]) == (502, "upstream_bad_response")
    assert answer.header("x-should-retry") == "false"
    assert row_of(gateway, answer)["state"] == "unknown"


# -- answers that say no ----------------------------------------------------------------------------------------------

# Each with the caller's status, code and x-should-retry. The provider has done no work.
RELEASED: dict[str, tuple[Reply, int, str, str | None]] = {
    "500 in a shape of its own": (json_bytes(b'{"detail": "boom"}', 500), 500, "upstream_error", None),
    "502 as HTML": (html(502), 502, "upstream_error", None),
    "503 without a body": (Reply(503), 503, "upstream_error", None),
    "422 in a shape of its own": (json_bytes(b'{"detail": [{"msg": "bad"}]}', 422), 422, "upstream_error", None),
    "404 as text": (text_answer("404 page not found").but(status=404), 502, "upstream_bad_response", None),
    "400 as HTML": (html(400), 502, "upstream_bad_response", None),
    "404 without a body": (Reply(404), 502, "upstream_bad_response", None),
    "401": (error_answer(401, "invalid_api_key", "Bad key."), 502, "upstream_auth_failed", "false"),
    "402": (error_answer(402, "no_credit", "Pay."), 502, "upstream_out_of_credit", "false"),
    "429": (error_answer(429, "rate_limited", "Slow down."), 429, "upstream_rate_limited", None),
}


@pytest.mark.parametrize("fault", RELEASED)
def test_what_was_refused_as_a_whole_costs_nothing(
    gateway: GatewayProcess, upstream: ScriptedUpstream, fault: str
) -> None:
    reply, status, code, retry = RELEASED[fault]
    upstream.reply(reply.but(headers=[*reply.headers, ("X-Request-ID", "up-1")]))
    answer = post(gateway, form())
    assert (answer.status, error_of(answer)["code"]) == (status, code)
    assert answer.header("x-should-retry") == retry
    row = row_of(gateway, answer)
    assert (row["state"], row["status"], row["error"]) == ("released", status, code)
    assert (row["cost_nano_usd"], row["audio_ms"], row["upstream_request_id"]) == (0, 0, "up-1")
    assert len(upstream.journal) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 413, 415, 422, 500, 503])
def test_an_error_in_openais_shape_is_passed_on_as_it_is(
    gateway: GatewayProcess, upstream: ScriptedUpstream, status: int
) -> None:
    body = b'{"error":{"message":"h\\u00e9","type":"odd_type","param":"language","code":"odd"},\n "extra":1}'
    upstream.reply(json_bytes(body, status))
    answer = post(gateway, form())
    assert (answer.status, answer.body) == (status, body)
    assert answer.header("content-type") == "application/json"
    assert answer.header("x-should-retry") is None
    assert row_of(gateway, answer)["state"] == "released"


def test_the_words_of_another_shape_are_told(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(json_bytes(b'{"detail": "The language xx is not known."}', 422))
    message = error_of(post(gateway, form()))["message"]
    assert message == "The speech provider refused the request with status 422. The language xx is not known."


def test_the_limits_of_the_provider_are_told_as_its_own(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    limits = [("Retry-After", "13"), ("X-RateLimit-Limit-Requests", "5"), ("X-RateLimit-Remaining-Requests", "0")]
    upstream.reply(error_answer(429, "rate_limited", "Your org-123 is too fast.", headers=limits))
    with pytest.raises(RateLimitError) as raised:
        sdk(gateway).audio.transcriptions.create(file=CLIP, model="whisper-1")
    error = raised.value
    assert (error.code, error.type) == ("upstream_rate_limited", "rate_limit_error")
    assert error.response.headers["retry-after"] == "13"
    assert not [name for name in error.response.headers if name.startswith("x-ratelimit")]
    assert "org-123" not in error.message


def test_the_sdk_repeats_what_may_be_repeated(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    busy = error_answer(503, "busy", "Busy.")
    upstream.reply(busy, json_answer("hello"))
    told = sdk(gateway, retries=2).audio.transcriptions.create(file=CLIP, model="whisper-1")
    assert told.text == "hello"
    assert len(upstream.journal) == 2


def test_the_sdk_does_not_repeat_what_may_have_been_billed(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.default = no_answer()
    with pytest.raises(InternalServerError) as raised:
        sdk(gateway, retries=2).audio.transcriptions.create(file=CLIP, model="whisper-1")
    assert raised.value.code == "upstream_error"
    assert len(upstream.journal) == 1


@pytest.mark.parametrize("cut", ["reset", "close"])
def test_a_connection_that_breaks_during_the_upload_costs_nothing(
    gateway: GatewayProcess, upstream: ScriptedUpstream, cut: str
) -> None:
    """The closing boundary was not sent: the provider cannot have worked."""
    upstream.reply(no_answer().but(cut=cut, when="after_bytes", after=4000))
    with connect(gateway) as caller:
        body = multipart(form(), closing=False)
        headers = [("Content-Length", str(len(body) + 100))]
        caller.send(post_bytes(gateway, b"", headers=headers) + body)
        head = caller.read_until(b"\r\n\r\n").decode()
    lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    assert head.startswith("HTTP/1.1 502 ")
    assert "x-should-retry" not in lines
    row = gateway.wait_for_row(lines["x-request-id"], "released")
    assert (row["error"], row["cost_nano_usd"]) == ("upstream_error", 0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(gateway: GatewayProcess, upstream: ScriptedUpstream, status: int) -> None:
    with ScriptedUpstream() as elsewhere:
        upstream.reply(Reply(status, [("Location", f"{elsewhere.base_url}/audio/transcriptions")]))
        answer = post(gateway, form())
        assert elsewhere.connections_opened == 0
    assert (answer.status, error_of(answer)["code"]) == (502, "upstream_redirect")
    assert answer.header("location") is None
    assert row_of(gateway, answer)["state"] == "released"
    assert len(upstream.journal) == 1


# -- the provider's key -----------------------------------------------------------------------------------------------


def readiness(gateway: GatewayProcess) -> int:
    return httpx.get(f"{gateway.host}/readyz", timeout=5).status_code


@pytest.mark.parametrize("status", [401, 402])
def test_trouble_with_the_key_shows_in_readiness_until_a_success(
    gateway: GatewayProcess, upstream: ScriptedUpstream, status: int
) -> None:
    assert post(gateway, form()).status == 200
    assert readiness(gateway) == 200
    upstream.reply(error_answer(status, "x", "y"))
    assert post(gateway, form()).status == 502
    assert readiness(gateway) == 503
    assert any(line["level"] == "error" and f" {status}:" in str(line["message"]) for line in gateway.log_lines("log"))
    upstream.reply(error_answer(403, "moderated", "Not this clip."))
    assert post(gateway, form()).status == 403
    assert readiness(gateway) == 503
    assert post(gateway, form()).status == 200
    assert readiness(gateway) == 200


def test_a_403_is_the_trouble_of_one_clip(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(error_answer(403, "moderated", "Not this clip."))
    assert post(gateway, form()).status == 403
    assert readiness(gateway) == 200


@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 429, 500, 504])
@pytest.mark.parametrize("shape", ["openai", "other", "text"])
def test_the_providers_key_is_in_no_error_of_ours(
    gateway: GatewayProcess, upstream: ScriptedUpstream, status: int, shape: str
) -> None:
    def echo(exchange: Any) -> Reply:
        words = f"Incorrect API key provided: {exchange.header('authorization')}."
        if shape == "openai":
            reply = error_answer(status, "invalid_api_key", words)
        elif shape == "other":
            reply = json_bytes(f'{{"detail": "{words}"}}'.encode(), status)
        else:
            reply = text_answer(words).but(status=status)
        return reply.but(
            headers=[*reply.headers, ("X-Request-ID", PROVIDER_KEY), ("OpenAI-Processing-MS", PROVIDER_KEY)]
        )

    upstream.reply(echo)
    answer = post(gateway, form(fields=[("response_format", "text")] if shape == "text" else []))
    assert answer.status >= 400
    assert PROVIDER_KEY.encode() not in answer.body
    assert PROVIDER_KEY not in str(answer.headers)
    gateway.wait_for_log(request_id(answer))
    assert PROVIDER_KEY not in gateway.log.read_text()
    assert PROVIDER_KEY not in str(gateway.rows())


def test_the_providers_key_is_in_no_header_of_a_success(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(json_answer("hello").but(headers=[("X-Request-ID", f"id-{PROVIDER_KEY}")]))
    answer = post(gateway, form())
    assert (answer.status, answer.header("x-upstream-request-id")) == (200, "id-[redacted]")
    assert row_of(gateway, answer)["upstream_request_id"] == "id-[redacted]"


# -- streams ----------------------------------------------------------------------------------------------------------

FIRST = sse_frame({"type": "transcript.text.delta", "delta": "hel"})
CUT = b'data: {"error": {"message": "The speech provider\'s stream broke off before the transcript was complete."'


def stream(gateway: GatewayProcess) -> RawResponse:
    return post(gateway, form("gpt-4o-transcribe", fields=[("stream", "true")]))


def sse(body: bytes, **more: Any) -> Reply:
    return Reply(headers=[("Content-Type", "text/event-stream")], body=body, framing="chunked", **more)


BROKEN_STREAMS: dict[str, tuple[Reply, bytes]] = {
    "reset after an event": (sse(FIRST + FIRST, cut_after=len(FIRST)), FIRST),
    "closed after an event": (sse(FIRST + FIRST, cut_after=len(FIRST), cut="close"), FIRST),
    "closed in an event": (sse(FIRST + FIRST, cut_after=len(FIRST) + 20, cut="close"), FIRST),
    "closed before any event": (sse(FIRST, cut_after=5, cut="close"), b""),
    "ended without its last event": (sse(FIRST), FIRST),
    "ended without any event": (sse(b""), b""),
}


@pytest.mark.parametrize("fault", BROKEN_STREAMS)
def test_a_stream_that_breaks_off_ends_with_an_error_and_is_cut(
    gateway: GatewayProcess, upstream: ScriptedUpstream, fault: str
) -> None:
    reply, passed_on = BROKEN_STREAMS[fault]
    upstream.reply(reply)
    answer = stream(gateway)
    assert (answer.status, answer.complete) == (200, False)
    assert answer.body.startswith(passed_on + CUT)
    assert answer.body.endswith(b'"code": "upstream_cut"}}\n\n')
    assert b"[DONE]" not in answer.body
    row = gateway.wait_for_row(request_id(answer), "unknown")
    assert row["error"] == "upstream_cut"
    assert is_charged_at_its_hold(row)


def test_the_sdk_raises_on_a_stream_that_breaks_off(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(sse_answer(["a", "b"], TOKENS).but(cut_after=70))
    events = sdk(gateway).audio.transcriptions.create(file=CLIP, model="gpt-4o-transcribe", stream=True)
    assert next(events).type == "transcript.text.delta"
    with pytest.raises(APIError, match="broke off") as raised:
        next(events)
    assert raised.value.code == "upstream_cut"


def test_an_error_that_the_provider_streams_is_passed_on(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    told = FIRST + sse_frame({"error": {"message": "Overloaded.", "type": "server_error", "code": "busy"}})
    upstream.reply(sse(told))
    answer = stream(gateway)
    assert (answer.body, answer.complete) == (told, True)
    row = gateway.wait_for_row(request_id(answer), "unknown")
    assert (row["status"], row["error"]) == (200, "upstream_error")


def test_a_stream_cut_behind_its_last_event_is_settled(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    done = sse_frame({"type": "transcript.text.done", "text": "hel", "usage": TOKENS})
    upstream.reply(sse(FIRST + done + b"data: [DONE]\n\n", cut_after=len(FIRST + done)))
    answer = stream(gateway)
    assert answer.body.startswith(FIRST + done)
    row = row_of(gateway, answer)
    assert (row["state"], row["total_tokens"]) == ("settled", 59)


# -- patience ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def impatient(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that waits for nothing longer than 0.3 s."""
    settings = "[timeouts]\nfirst_byte = 0.3\nsse_idle = 0.3\nbody_idle = 0.3\nlinger = 0.2"
    with GatewayProcess(tmp_path_factory.mktemp("impatient"), shared_upstream.base_url, settings) as process:
        yield process


def test_a_provider_that_does_not_answer(impatient: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(Reply(hang=True))
    answer = post(impatient, form())
    assert (answer.status, error_of(answer)["code"]) == (504, "upstream_timeout")
    assert answer.header("x-should-retry") == "false"
    row = row_of(impatient, answer)
    assert (row["state"], row["error"]) == ("unknown", "upstream_timeout")
    assert is_charged_at_its_hold(row)
    upstream.wait_until(lambda: upstream.connections_open == 0)


def test_a_stream_that_stalls(impatient: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(sse(FIRST).but(body=[(0, FIRST), (60, FIRST)]))
    answer = stream(impatient)
    assert answer.complete is False
    assert answer.body.startswith(FIRST + CUT)
    assert impatient.wait_for_row(request_id(answer), "unknown")["error"] == "upstream_cut"
    upstream.wait_until(lambda: upstream.connections_open == 0)


def test_a_stream_that_goes_on_is_not_held_to_the_first_byte(
    impatient: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    upstream.reply(sse_answer(["a", "b", "c", "d"], TOKENS, delay=0.15))
    answer = stream(impatient)
    assert (answer.complete, row_of(impatient, answer)["state"]) == (True, "settled")


def test_a_caller_who_stalls(impatient: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with connect(impatient) as caller:
        body = multipart(form(), closing=False)
        headers = [("Content-Length", str(len(body) + 100))]
        caller.send(post_bytes(impatient, b"", headers=headers) + body)
        answer = caller.read_response()
        assert (answer.status, error_of(answer)["code"]) == (408, "request_timeout")
        assert caller.closed()
    upstream.wait_until(lambda: upstream.journal[0].aborted)
    assert row_of(impatient, answer)["state"] == "released"


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, socket.socket]]:
    """A gateway whose provider's port is bound, but nobody listens."""
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
        with GatewayProcess(tmp_path_factory.mktemp("lonely"), url, "[timeouts]\nconnect = 0.3") as process:
            yield process, bound


def listen_to_nobody(bound: socket.socket) -> list[socket.socket]:
    """From now on connections to this port stay half-made: its queue is full."""
    bound.listen(0)
    made = []
    for _ in range(3):
        waiting = socket.socket()
        waiting.setblocking(False)
        waiting.connect_ex(bound.getsockname())
        made.append(waiting)
    return made


@pytest.mark.parametrize(
    ("prepare", "status", "code"),
    [(lambda bound: [], 502, "upstream_unreachable"), (listen_to_nobody, 504, "upstream_timeout")],
    ids=["refused", "not accepted"],
)
def test_a_provider_that_cannot_be_reached(
    lonely: tuple[GatewayProcess, socket.socket],
    prepare: Callable[[socket.socket], list[socket.socket]],
    status: int,
    code: str,
) -> None:
    gateway, bound = lonely
    waiting = prepare(bound)
    with pytest.raises(APIStatusError) as raised:
        sdk(gateway).audio.transcriptions.create(file=CLIP, model="whisper-1")
    for each in waiting:
        each.close()
    error = raised.value
    assert (error.status_code, error.code) == (status, code)
    assert "x-should-retry" not in error.response.headers
    row = gateway.row(error.request_id or "")
    assert (row["state"], row["error"], row["cost_nano_usd"]) == ("released", code, 0)
