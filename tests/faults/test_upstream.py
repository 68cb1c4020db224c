"""Faulty responses of the provider: the caller's status and code, whether to retry, and the ledger's row."""

from gzip import compress
from zlib import compress as deflate

import pytest

from tests.behaviour.caller import error_of, form, post, request_id
from tests.faults.answers import HELLO, HTML, coded, html, is_unknown, json_bytes, raw, row_of
from tests.stubs.gateway import PROVIDER_KEY, GatewayProcess
from tests.stubs.upstream import (
    Reply,
    ScriptedUpstream,
    error_answer,
    json_answer,
    no_answer,
    text_answer,
)

# -- invalid responses ------------------------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SIZED = b"Content-Length: 17\r\n\r\n"
BOMB = compress(bytes(64 * 1024 * 1024))


def lines(count: int, size: int) -> bytes:
    return b"".join(b"X-%d: %b\r\n" % (number, b"a" * size) for number in range(count))


# Each has the code of its 502 or 504. The provider may have done its work: no retry, and the reservation is charged.
UNKNOWN: dict[str, tuple[Reply, str]] = {
    "E79-reset without an answer": (no_answer("reset"), "upstream_error"),
    "E79-closed without an answer": (no_answer("close"), "upstream_error"),
    "E79-reset in the head": (raw(b"HTTP/1.1 200 OK\r\nConte").but(cut="reset"), "upstream_error"),
    "E79-nothing but 100 Continue": (raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 3), "upstream_error"),
    "E80-a length that is too long": (raw(OK, b"Content-Length: 18\r\n\r\n", HELLO), "upstream_error"),
    "E80-a length that is too short": (raw(OK, b"Content-Length: 5\r\n\r\n", HELLO), "upstream_error"),
    "E80-cut between chunks": (
        Reply(
            headers=[("Content-Type", "application/json")], body=[(0, b'{"text": '), (0, b'"a"}')], framing="chunked"
        ).but(cut_after=9, cut="close"),
        "upstream_error",
    ),
    "E80-an error cut short": (error_answer(500, "x", "y").but(cut_after=10), "upstream_error"),
    "E80-a text reset before its connection ends it": (
        Reply(headers=[("Content-Type", "application/json")], body=HELLO, framing="close", cut_after=17),
        "upstream_error",
    ),
    "E84-408": (error_answer(408, "timeout", "Too slow."), "upstream_timeout"),
    "E84-504": (error_answer(504, "timeout", "Too slow."), "upstream_timeout"),
    "E84-524": (html(524), "upstream_timeout"),
    "E86-JSON that is no object": (json_bytes(b'["hello"]'), "upstream_bad_response"),
    "E86-no JSON at all": (text_answer("hello"), "upstream_bad_response"),
    "E86-an HTML page": (html(200), "upstream_bad_response"),
    "E86-nothing": (json_bytes(b""), "upstream_bad_response"),
    "E86-204": (Reply(204, framing="raw", raw=b"HTTP/1.1 204 No Content\r\n\r\n"), "upstream_bad_response"),
    "E86-204 of a stream": (
        raw(b"HTTP/1.1 204 No Content\r\nContent-Type: text/event-stream\r\n\r\n"),
        "upstream_bad_response",
    ),
    "E86-205": (raw(b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"), "upstream_bad_response"),
    "E86-nothing until the end": (raw(OK, b"\r\n"), "upstream_bad_response"),
    "E86-gzip": (coded("gzip", compress(HELLO)), "upstream_bad_response"),
    "E86-deflate": (coded("deflate", deflate(HELLO)), "upstream_bad_response"),
    "E86-br": (coded("br", b"\x8b\x08\x80" + HELLO + b"\x03"), "upstream_bad_response"),
    "E86-a coding behind another": (coded("identity, gzip", compress(HELLO)), "upstream_bad_response"),
    "E86-a coding of the transfer": (
        raw(OK, b"Transfer-Encoding: gzip, chunked\r\n\r\n11\r\n", HELLO, b"\r\n0\r\n\r\n"),
        "upstream_bad_response",
    ),
    "E86-an unknown coding": (coded("x-unknown", HELLO), "upstream_bad_response"),
    "E86-not HTTP": (raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "upstream_error"),
    "E86-garbage before the status line": (raw(b"garbage\r\n", OK, SIZED, HELLO), "upstream_error"),
    "E86-HTTP/2": (raw(b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x64"), "upstream_error"),
    "E86-HTTP/2.0": (raw(b"HTTP/2.0 200 OK\r\n", SIZED, HELLO), "upstream_error"),
    "E86-TLS": (raw(b"\x15\3\3\0\2\2\x28"), "upstream_error"),
    "E86-101": (
        raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc"),
        "upstream_bad_response",
    ),
    "E86-99": (raw(b"HTTP/1.1 099 OK\r\n", SIZED, HELLO), "upstream_bad_response"),
    "E86-600": (json_bytes(b"{}", 600), "upstream_bad_response"),
    "E86-999": (json_bytes(b"{}", 999), "upstream_bad_response"),
    "E86-2000": (raw(b"HTTP/1.1 2000 OK\r\n", SIZED, HELLO), "upstream_error"),
    "E86-an error under 200": (json_bytes(b'{"error": {"message": "m"}}'), "upstream_bad_response"),
    "N225-an error of another shape": (json_bytes(b'{"code": 50001, "message": "busy"}'), "upstream_bad_response"),
    "N225-an error beside no words": (json_bytes(b'{"text": "", "error": "busy"}'), "upstream_bad_response"),
    "N225-an error of FastAPI": (json_bytes(b'{"detail": "busy"}'), "upstream_bad_response"),
    "E88-half a JSON document": (json_bytes(b'{"text": "hel'), "upstream_bad_response"),
    "E88-JSON that ends too late": (json_bytes(HELLO + b"}"), "upstream_bad_response"),
    "E88-JSON that is nested without end": (json_bytes(b'{"text":' + b"[" * 200_000), "upstream_bad_response"),
    "E90-a compression bomb": (coded("gzip", BOMB), "upstream_bad_response"),
    "E97-two lengths": (raw(OK, b"Content-Length: 16\r\n", SIZED, HELLO), "upstream_error"),
    "E97-one length twice": (raw(OK, b"Content-Length: 17\r\n", SIZED, HELLO), "upstream_error"),
    "E97-LF for line ends": (raw((OK + SIZED).replace(b"\r\n", b"\n"), HELLO), "upstream_error"),
    "E97-a folded header": (raw(OK, b"X-Request-ID: a\r\n b\r\n", SIZED, HELLO), "upstream_error"),
    "E97-a body where there is none": (raw(b"HTTP/1.1 204 No Content\r\n", SIZED, HELLO), "upstream_error"),
    "E97-a coding that hides the end": (raw(OK, b"Transfer-Encoding: gzip\r\n\r\n", HELLO), "upstream_bad_response"),
    "E97-a chunk's extension without an end": (
        raw(OK, b"Transfer-Encoding: chunked\r\n\r\n1;", b"a" * 100_000),
        "upstream_error",
    ),
    "E97-a length that is none": (raw(OK, b"Content-Length: +17\r\n\r\n", HELLO), "upstream_error"),
    "E97-a length below zero": (raw(OK, b"Content-Length: -1\r\n\r\n", HELLO), "upstream_error"),
    "E97-a length and chunks": (
        raw(OK, b"Transfer-Encoding: chunked\r\n", SIZED, b"11\r\n", HELLO, b"\r\n0\r\n\r\n"),
        "upstream_error",
    ),
    "E97-a chunk's size that is none": (raw(OK, b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "upstream_error"),
    "E97-a chunk's size below zero": (raw(OK, b"Transfer-Encoding: chunked\r\n\r\n-1\r\n"), "upstream_error"),
    "E97-a header of 100 KB": (raw(OK, lines(1, 100_000), SIZED, HELLO), "upstream_error"),
    "E97-a thousand headers": (raw(OK, lines(1_000, 1), SIZED, HELLO), "upstream_error"),
    "E97-CR in a header": (raw(OK, b"X-Request-ID: a\rSet-Cookie: b\r\n", SIZED, HELLO), "upstream_error"),
    "E97-NUL in a header": (raw(OK, b"X-Request-ID: a\0b\r\n", SIZED, HELLO), "upstream_error"),
}


@pytest.mark.parametrize("fault", UNKNOWN)
def test_a_request_that_may_be_billed_is_charged_and_not_retried(
    gateway: GatewayProcess, upstream: ScriptedUpstream, fault: str
) -> None:
    reply, code = UNKNOWN[fault]
    status = 504 if code == "upstream_timeout" else 502
    upstream.reply(reply)
    answer = post(gateway, form())
    assert is_unknown(gateway, answer, status, code)
    line = gateway.wait_for_log(request_id(answer))
    assert (line["status"], line["error"], line["state"], line["level"]) == (status, code, "unknown", "warning")
    assert len(upstream.journal) == 1
    assert post(gateway, form()).json() == {"text": "hello"}


@pytest.mark.parametrize("response_format", ["text", "srt", "vtt"])
def test_E86_an_html_page_is_not_a_transcript(
    gateway: GatewayProcess, upstream: ScriptedUpstream, response_format: str
) -> None:
    upstream.reply(text_answer(HTML))
    answer = post(gateway, form(fields=[("response_format", response_format)]))
    assert (answer.status, error_of(answer)["code"]) == (502, "upstream_bad_response")
    assert row_of(gateway, answer)["state"] == "unknown"


def test_E86_the_log_shows_an_unreadable_error_and_never_a_transcript(
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


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_E90_a_response_above_the_buffer_limit_is_aborted(
    gateway: GatewayProcess, upstream: ScriptedUpstream, framing: str
) -> None:
    upstream.reply(json_bytes(b'{"text": "' + b"a" * (32 * 1024 * 1024) + b'"}').but(framing=framing))
    assert is_unknown(gateway, post(gateway, form()), 502, "upstream_bad_response")
    upstream.wait_until(lambda: upstream.connections_open <= 1)


def test_E90_a_response_of_2_gb_is_aborted_early(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Its Content-Length is above the buffer limit. The gateway reads no more than that limit."""
    headers = [("Content-Type", "application/json"), ("Content-Length", str(2 << 30))]
    megabyte = b"a" * (1 << 20)
    upstream.reply(Reply(headers=headers, body=[(0, b'{"text": "'), *((0.0, megabyte) for _ in range(64))]))
    answer = post(gateway, form())
    assert is_unknown(gateway, answer, 502, "upstream_bad_response")
    assert upstream.journal[0].answered_at is None


# -- unusual but complete responses ------------------------------------------------------------------------------------

GOOD: dict[str, Reply] = {
    "E97-100 Continue first": raw(b"HTTP/1.1 100 Continue\r\n\r\n", OK, SIZED, HELLO),
    "E97-103 Early Hints thrice": raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3, OK, SIZED, HELLO),
    "E97-HTTP/1.0 without a length": raw(OK.replace(b"1.1", b"1.0"), b"\r\n", HELLO),
    "E97-without a length": raw(OK, b"\r\n", HELLO),
    "E97-a blank line first": raw(b"\r\n", OK, SIZED, HELLO),
    "E97-without a content type": raw(b"HTTP/1.1 200 OK\r\n", SIZED, HELLO),
    "E97-trailers": raw(OK, b"Transfer-Encoding: chunked\r\n\r\n11\r\n", HELLO, b"\r\n0\r\nX-Request-ID: late\r\n\r\n"),
    "E97-201": json_bytes(HELLO, 201),
}


@pytest.mark.parametrize("oddity", GOOD)
def test_an_unusual_but_complete_response_is_relayed(
    gateway: GatewayProcess, upstream: ScriptedUpstream, oddity: str
) -> None:
    upstream.reply(GOOD[oddity])
    answer = post(gateway, form())
    assert (answer.status // 100, answer.body, answer.interim) == (2, HELLO, [])
    assert answer.header("content-type") == "application/json"
    assert row_of(gateway, answer)["state"] == "settled"


def test_E97_a_text_response_needs_no_content_type(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(Reply(body=b"hello"))
    answer = post(gateway, form(fields=[("response_format", "text")]))
    assert (answer.status, answer.body, answer.header("content-type")) == (200, b"hello", "text/plain; charset=utf-8")


HOSTILE = [
    ("Set-Cookie", "session=1"),
    ("Connection", "X-Secret"),
    ("X-Secret", "1"),
    ("Keep-Alive", "timeout=1000"),
    ("Proxy-Authenticate", "Basic"),
    ("Trailer", "X-Late"),
    ("Upgrade", "h2c"),
    ("Server", "nginx"),
    ("Date", "yesterday"),
    ("Access-Control-Allow-Origin", "*"),
    ("X-Should-Retry", "true"),
    ("X-RateLimit-Remaining-Requests", "7"),
    ("Retry-After", "7"),
    ("WWW-Authenticate", "Basic"),
    ("Content-Disposition", "attachment"),
    ("Location", "/elsewhere"),
    ("X-Request-ID", "theirs"),
]


@pytest.mark.parametrize("status", [200, 403, 429, 500])
def test_E97_only_listed_headers_are_relayed(gateway: GatewayProcess, upstream: ScriptedUpstream, status: int) -> None:
    reply = json_answer("hello") if status == 200 else error_answer(status, "x", "y")
    upstream.reply(reply.but(headers=[*reply.headers, *HOSTILE]))
    answer = post(gateway, form())
    names = {name.lower() for name, _ in answer.headers}
    ours = {"date", "content-type", "content-length", "x-request-id"}
    wait = {"retry-after", "retry-after-ms"}
    more = {200: {"openai-processing-ms", "x-upstream-request-id"}, 429: wait, 500: wait}
    assert (answer.status, names) == (status, ours | more.get(status, set()))
    assert request_id(answer) != "theirs"
    assert row_of(gateway, answer)["upstream_request_id"] == "theirs"


@pytest.mark.parametrize("value", ["x" * 513, "caf\u00e9", "a\tb"])
def test_E97_an_unprintable_request_id_is_dropped(
    gateway: GatewayProcess, upstream: ScriptedUpstream, value: str
) -> None:
    upstream.reply(json_answer("hello").but(headers=[("X-Request-ID", value)]))
    answer = post(gateway, form())
    assert (answer.status, answer.header("x-upstream-request-id")) == (200, None)
    assert row_of(gateway, answer)["upstream_request_id"] is None
