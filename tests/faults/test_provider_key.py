"""The provider key: errors about it raise an alert, and no response echoes it to a caller."""

import base64
from collections.abc import Callable
from urllib.parse import quote

import httpx
import pytest

from tests.behaviour.caller import form, post, request_id
from tests.faults.answers import FIRST, row_of, sse, stream
from tests.stubs.gateway import PROVIDER_KEY, GatewayProcess
from tests.stubs.upstream import Reply, ScriptedUpstream, error_answer, json_answer


def readiness(gateway: GatewayProcess) -> int:
    return httpx.get(f"{gateway.host}/readyz", timeout=5).status_code


ACCOUNT_TROUBLE = {
    "E85-401": error_answer(401, "x", "y"),
    "E85-402": error_answer(402, "x", "y"),
    "N220-429": error_answer(429, "insufficient_quota", "You exceeded your current quota."),
}


@pytest.mark.parametrize("trouble", ACCOUNT_TROUBLE)
def test_account_errors_are_logged_and_block_no_request(
    gateway: GatewayProcess, upstream: ScriptedUpstream, trouble: str
) -> None:
    """Readiness does not depend on the key: without requests, no success could show that it works again."""
    before = len(alarms(gateway))
    upstream.reply(ACCOUNT_TROUBLE[trouble], error_answer(403, "moderated", "Not this clip."))
    assert post(gateway, form()).status == 502
    assert readiness(gateway) == 200
    (alarm,) = alarms(gateway)[before:]
    assert f" {ACCOUNT_TROUBLE[trouble].status}:" in str(alarm["message"])
    assert post(gateway, form()).status == 403
    assert len(alarms(gateway)) == before + 1
    assert post(gateway, form()).status == 200


def alarms(gateway: GatewayProcess) -> list[dict[str, object]]:
    return [line for line in gateway.log_lines("log") if line["level"] == "error"]


# Each as a provider may write it: (the echo, where it stands in an answer).
def escaped(key: str) -> str:
    return "".join(f"\\u{ord(each):04x}" for each in key)


ECHOES: dict[str, Callable[[str], str]] = {
    "raw": str,
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of the header": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    "URL-encoded": lambda key: quote(key, safe=""),
    "wholly URL-encoded": lambda key: "".join(f"%{ord(each):02X}" for each in key),
    "escaped in JSON": escaped,
}
BODIES: dict[str, Callable[[str], tuple[str, str]]] = {
    "OpenAI's shape": lambda echo: (f'{{"error": {{"message": "Bad key {echo}.", "code": "x"}}}}', "application/json"),
    "a key of JSON": lambda echo: (f'{{"error": {{"message": "x", "{echo}": 1}}}}', "application/json"),
    "another shape": lambda echo: (f'{{"detail": "Bad key {echo}."}}', "application/json"),
    "text": lambda echo: (f"Bad key {echo}.", "text/plain"),
}


def is_nowhere(gateway: GatewayProcess, body: bytes, headers: object) -> bool:
    """Whether the response, the log and the ledger have neither the key nor an echo of it."""
    heard = b"".join([body, str(headers).encode(), gateway.log.read_bytes(), str(gateway.rows()).encode()])
    cores = [base64.b64encode(bytes(before) + PROVIDER_KEY.encode())[8:24] for before in range(3)]
    marks = [echo(PROVIDER_KEY).encode() for echo in ECHOES.values()]
    return not [mark for mark in (*marks, *cores) if mark in heard or mark.lower() in heard]


@pytest.mark.parametrize("shape", BODIES)
@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 429, 500, 504])
def test_E85_no_gateway_error_has_the_provider_key(
    gateway: GatewayProcess, upstream: ScriptedUpstream, status: int, echo: str, shape: str
) -> None:
    body, kind = BODIES[shape](ECHOES[echo](PROVIDER_KEY))
    named = [(name, ECHOES[echo](PROVIDER_KEY)) for name in ("X-Request-ID", "OpenAI-Processing-MS", "Retry-After")]
    upstream.reply(Reply(status, [("Content-Type", kind), *named], body.encode()))
    answer = post(gateway, form())
    assert answer.status >= 400
    gateway.wait_for_log(request_id(answer))
    assert is_nowhere(gateway, answer.body, answer.headers)


def test_E85_text_around_an_echoed_key_is_relayed(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """For example a moderation message; only the key is removed."""
    upstream.reply(error_answer(403, "moderated", f"Not this clip, {PROVIDER_KEY}.", param="file"))
    answer = post(gateway, form())
    assert row_of(gateway, answer)["state"] == "released"
    assert answer.json()["error"] == {
        "message": "Not this clip, [redacted].",
        "type": "invalid_request_error",
        "param": "file",
        "code": "moderated",
    }


def test_E85_no_header_of_a_success_has_the_provider_key(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(json_answer("hello").but(headers=[("X-Request-ID", f"id-{PROVIDER_KEY}")]))
    answer = post(gateway, form())
    assert (answer.status, answer.header("x-upstream-request-id")) == (200, "id-[redacted]")
    assert row_of(gateway, answer)["upstream_request_id"] == "id-[redacted]"


FRAMES = {
    "error": 'data: {{"error": {{"message": "Bad key {}.", "code": "x"}}}}\n\n',
    "type error": 'event: error\ndata: {{"type": "error", "message": "Bad key {}."}}\n\n',
    "text": "event: error\ndata: Bad key {}.\n\n",
    "failure": 'event: failure\ndata: {{"reason": "Bad key {}."}}\n\n',
    "type failed": 'data: {{"type": "transcript.failed", "reason": "Bad key {}."}}\n\n',
    "delta": 'data: {{"type": "transcript.text.delta", "delta": "{}"}}\n\n',
    "list": 'data: ["{}"]\n\n',
    "id": "id: {}\ndata: {{}}\n\n",
    "comment": ": {}\n\n",
}
PLAIN = ("text", "id", "comment")
STREAMED = [(frame, echo) for frame in FRAMES for echo in ECHOES if frame not in PLAIN or echo != "escaped in JSON"]


@pytest.mark.parametrize(("frame", "echo"), STREAMED)
def test_E85_N227_no_event_of_a_stream_has_the_key(
    gateway: GatewayProcess, upstream: ScriptedUpstream, frame: str, echo: str
) -> None:
    written = FRAMES[frame].format(ECHOES[echo](PROVIDER_KEY)).encode()
    upstream.reply(sse(FIRST + written))
    answer = stream(gateway)
    assert answer.body.startswith(FIRST)
    assert b"[redacted]" in answer.body
    gateway.wait_for_row(request_id(answer), "unknown")
    assert is_nowhere(gateway, answer.body, answer.headers)


SUCCESSES: dict[str, tuple[str, str, str]] = {
    "json": ("json", '{{"text": "hello {}"}}', "application/json"),
    "a name": ("verbose_json", '{{"text": "hello", "{}": 1}}', "application/json"),
    "text": ("text", "hello {}", "text/plain"),
    "subtitles": ("srt", "1\n00:00:00,000 --> 00:00:01,000\n{}\n", "text/plain"),
    "JSON as text": ("text", '{{"text": "{}"}}', "text/plain"),
}
WRITTEN = [
    (shape, echo) for shape in SUCCESSES for echo in ECHOES if shape not in ("text", "subtitles") or "JSON" not in echo
]


@pytest.mark.parametrize(("shape", "echo"), WRITTEN)
def test_N227_no_success_has_the_key(
    gateway: GatewayProcess, upstream: ScriptedUpstream, shape: str, echo: str
) -> None:
    response_format, body, kind = SUCCESSES[shape]
    written = body.format(ECHOES[echo](PROVIDER_KEY)).encode()
    upstream.reply(Reply(headers=[("Content-Type", kind)], body=written))
    answer = post(gateway, form(fields=[("response_format", response_format)]))
    assert (answer.status, b"[redacted]" in answer.body) == (200, True)
    assert row_of(gateway, answer)["state"] == "settled"
    assert is_nowhere(gateway, answer.body, answer.headers)
