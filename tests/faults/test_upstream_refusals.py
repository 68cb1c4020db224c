"""A provider that says no: with its own words, without any, or because of our key."""

from email.utils import formatdate
from gzip import compress
from time import time

import pytest
from openai import APIStatusError, InternalServerError, RateLimitError

from tests.behaviour.caller import CLIP, connect, error_of, form, post, post_bytes, sdk
from tests.faults.answers import HELLO, coded, html, is_released, json_bytes, row_of
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import multipart
from tests.stubs.upstream import (
    Reply,
    ScriptedUpstream,
    error_answer,
    json_answer,
    no_answer,
    text_answer,
)

# Each with the caller's status, code and x-should-retry. The provider has done no work.
RELEASED: dict[str, tuple[Reply, int, str, str | None]] = {
    "E83-429": (error_answer(429, "rate_limited", "Slow down."), 429, "upstream_rate_limited", None),
    "E83-429 as HTML": (html(429), 429, "upstream_rate_limited", None),
    "E83-429 without a body": (Reply(429), 429, "upstream_rate_limited", None),
    "E84-500 in a shape of its own": (json_bytes(b'{"detail": "boom"}', 500), 500, "upstream_error", None),
    "E84-500 as a list": (json_bytes(b"[1]", 500), 500, "upstream_error", None),
    "E84-502 as HTML": (html(502), 502, "upstream_error", None),
    "E84-503 without a body": (Reply(503), 503, "upstream_error", None),
    "E84-500 compressed": (coded("gzip", compress(HELLO)).but(status=500), 500, "upstream_error", None),
    "E84-599": (html(599), 599, "upstream_error", None),
    "E85-401": (error_answer(401, "invalid_api_key", "Bad key."), 502, "upstream_auth_failed", "false"),
    "E85-401 as HTML": (html(401), 502, "upstream_auth_failed", "false"),
    "E85-402": (error_answer(402, "no_credit", "Pay."), 502, "upstream_out_of_credit", "false"),
    "E85-402 without a body": (Reply(402), 502, "upstream_out_of_credit", "false"),
    "E86-422 in a shape of its own": (json_bytes(b'{"detail": [{"msg": "bad"}]}', 422), 422, "upstream_error", None),
    "E84-500 with an error that says nothing": (json_bytes(b'{"error": {}}', 500), 500, "upstream_error", None),
    "E84-400 with an error of other keys": (json_bytes(b'{"error": {"msg": 1}}', 400), 400, "upstream_error", None),
    "N220-429 for an empty account": (
        error_answer(429, "insufficient_quota", "You exceeded your current quota.", type="insufficient_quota"),
        502,
        "upstream_out_of_credit",
        "false",
    ),
    "N220-403 for a closed account": (
        error_answer(403, "account_deactivated", "Closed."),
        502,
        "upstream_auth_failed",
        "false",
    ),
    "N221-404 as text": (
        text_answer("404 page not found").but(status=404),
        502,
        "upstream_bad_response",
        "false",
    ),
    "N221-404 without a body": (Reply(404), 502, "upstream_bad_response", "false"),
    "N221-403 of a firewall": (html(403), 502, "upstream_bad_response", "false"),
    "N221-403 of an API gateway": (json_bytes(b'{"message": "Forbidden"}', 403), 502, "upstream_bad_response", "false"),
    "N221-413 of a CDN": (html(413), 413, "upstream_error", "false"),
    "N221-400 of a proxy": (html(400), 400, "upstream_error", "false"),
    "N221-415 as text": (text_answer("no").but(status=415), 415, "upstream_error", "false"),
    "N221-422 without a body": (Reply(422), 422, "upstream_error", "false"),
    "N221-400 compressed": (coded("br", compress(HELLO)).but(status=400), 400, "upstream_error", "false"),
    "N221-460 of a load balancer": (Reply(460), 502, "upstream_bad_response", "false"),
    "E95-300": (Reply(300), 502, "upstream_redirect", "false"),
    "E95-304": (Reply(304, framing="raw", raw=b"HTTP/1.1 304 Not Modified\r\n\r\n"), 502, "upstream_redirect", "false"),
    "E95-302 without a Location": (Reply(302), 502, "upstream_redirect", "false"),
}


@pytest.mark.parametrize("fault", RELEASED)
def test_what_was_refused_as_a_whole_costs_nothing(
    gateway: GatewayProcess, upstream: ScriptedUpstream, fault: str
) -> None:
    reply, status, code, retry = RELEASED[fault]
    upstream.reply(reply.but(headers=[*reply.headers, ("X-Request-ID", "up-1")]))
    answer = post(gateway, form())
    assert is_released(gateway, answer, status, code, retry)
    assert row_of(gateway, answer)["upstream_request_id"] == (None if reply.framing == "raw" else "up-1")
    assert len(upstream.journal) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 413, 415, 422, 500, 503])
def test_E84_E86_an_error_in_openais_shape_is_passed_on_as_it_is(
    gateway: GatewayProcess, upstream: ScriptedUpstream, status: int
) -> None:
    body = b'{"error":{"message":"h\\u00e9","type":"odd_type","param":"language","code":"odd"},\n "extra":1}'
    upstream.reply(json_bytes(body, status))
    answer = post(gateway, form())
    assert (answer.status, answer.body) == (status, body)
    assert answer.header("content-type") == "application/json"
    assert answer.header("x-should-retry") is None
    assert row_of(gateway, answer)["state"] == "released"


def test_E84_the_words_of_another_shape_are_told(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(json_bytes(b'{"detail": "The language xx is not known."}', 422))
    message = error_of(post(gateway, form()))["message"]
    assert message == "The speech provider refused the request with status 422. The language xx is not known."


def test_E83_the_limits_of_the_provider_are_told_as_its_own(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    limits = [("Retry-After", "13"), ("X-RateLimit-Limit-Requests", "5"), ("X-RateLimit-Remaining-Requests", "0")]
    upstream.reply(error_answer(429, "rate_limited", "Your org-123 is too fast.", headers=limits))
    with pytest.raises(RateLimitError) as raised:
        sdk(gateway).audio.transcriptions.create(file=CLIP, model="whisper-1")
    error = raised.value
    assert (error.code, error.type) == ("upstream_rate_limited", "rate_limit_error")
    assert error.response.headers["retry-after"] == "13"
    assert not [name for name in error.response.headers if name.startswith("x-ratelimit")]
    assert "org-123" not in error.message


WAITS: dict[str, tuple[str, str | None]] = {
    "E83-seconds": ("7", "7"),
    "E83-none": ("0", "1"),
    "E83-a date that is past": ("Wed, 21 Oct 2015 07:28:00 GMT", "1"),
    "E83-below zero": ("-1", None),
    "N222-a fraction": ("1.2", "2"),
    "N222-huge": ("9" * 40, "3600"),
    "N222-a year": ("31536000", "3600"),
    "N222-a date far away": ("Wed, 21 Oct 2037 07:28:00 GMT", "3600"),
    "E83-hexadecimal": ("0x10", None),
    "E83-words": ("soon", None),
    "E83-nothing": ("", None),
}


@pytest.mark.parametrize("wait", WAITS)
def test_how_long_the_provider_asks_to_wait(gateway: GatewayProcess, upstream: ScriptedUpstream, wait: str) -> None:
    given, told = WAITS[wait]
    waits = [("Retry-After", given)]
    upstream.reply(error_answer(429, "rate_limited", "Slow.", headers=waits), html(503).but(headers=waits))
    answer = post(gateway, form())
    assert is_released(gateway, answer, 429, "upstream_rate_limited")
    assert error_of(answer)["type"] == "rate_limit_error"
    assert answer.header("retry-after") == told
    answer = post(gateway, form())
    assert is_released(gateway, answer, 503, "upstream_error")
    assert answer.header("retry-after") == told


def test_E83_a_date_to_wait_for_is_told_in_seconds(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    until = formatdate(time() + 3600, usegmt=True)
    upstream.reply(error_answer(429, "rate_limited", "Slow.", headers=[("Retry-After", until)]))
    seconds = int(post(gateway, form()).header("retry-after") or "")
    assert 3000 < seconds <= 3601


def test_E84_the_sdk_repeats_what_may_be_repeated(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    busy = error_answer(503, "busy", "Busy.")
    upstream.reply(busy, json_answer("hello"))
    told = sdk(gateway, retries=2).audio.transcriptions.create(file=CLIP, model="whisper-1")
    assert told.text == "hello"
    assert len(upstream.journal) == 2


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413])
def test_N221_the_sdk_does_not_repeat_what_a_proxy_refuses(
    gateway: GatewayProcess, upstream: ScriptedUpstream, status: int
) -> None:
    upstream.default = html(status)
    with pytest.raises(APIStatusError):
        sdk(gateway, retries=2).audio.transcriptions.create(file=CLIP, model="whisper-1")
    assert len(upstream.journal) == 1


def test_N221_a_file_too_large_for_a_proxy_is_told_so(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(html(413))
    message = error_of(post(gateway, form()))["message"]
    assert message == "The speech provider refused the request with status 413. The file is too large for it."


def test_E79_the_sdk_does_not_repeat_what_may_have_been_billed(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    upstream.default = no_answer()
    with pytest.raises(InternalServerError) as raised:
        sdk(gateway, retries=2).audio.transcriptions.create(file=CLIP, model="whisper-1")
    assert raised.value.code == "upstream_error"
    assert len(upstream.journal) == 1


@pytest.mark.parametrize("cut", ["reset", "close"])
def test_E79_a_connection_that_breaks_during_the_upload_costs_nothing(
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


@pytest.mark.parametrize("where", ["another host", "the same host", "no host"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_E95_a_redirect_is_never_followed(
    gateway: GatewayProcess, upstream: ScriptedUpstream, status: int, where: str
) -> None:
    with ScriptedUpstream() as elsewhere:
        host = {"another host": elsewhere.base_url, "the same host": upstream.base_url, "no host": "/v2"}[where]
        upstream.reply(Reply(status, [("Location", f"{host}/audio/transcriptions")]))
        answer = post(gateway, form())
        assert elsewhere.connections_opened == 0
    assert is_released(gateway, answer, 502, "upstream_redirect", retry="false")
    assert answer.header("location") is None
    assert len(upstream.journal) == 1
