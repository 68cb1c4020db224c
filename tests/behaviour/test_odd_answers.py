"""Answers that no good provider gives: too early, without a status of HTTP, without an end, with our key in them."""

import time

import httpx
import pytest

from tests.behaviour.caller import begin, connect, error_of, fence, form, post, request_id
from tests.stubs.gateway import PROVIDER_KEY, GatewayProcess
from tests.stubs.raw import chunked, multipart
from tests.stubs.upstream import Reply, ScriptedUpstream, error_answer, json_answer, sse_answer, sse_frame


def test_a_success_before_the_form_has_ended_is_none(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
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


@pytest.mark.parametrize("status", [600, 999])
def test_what_is_no_status_is_no_answer(gateway: GatewayProcess, upstream: ScriptedUpstream, status: int) -> None:
    upstream.reply(Reply(status=status, headers=[("Content-Type", "application/json")], body=b"{}"))
    answer = post(gateway, form())
    assert (answer.status, error_of(answer)["code"]) in [(502, "upstream_bad_response"), (502, "upstream_error")]


@pytest.mark.timeout(30)
def test_a_refusal_whose_body_never_ends_is_told_by_its_status(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    endless = error_answer(413, None, "too large").but(when="after_bytes", after=1, body=[(0, b"{"), (60, b"}")])
    upstream.reply(endless)
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([multipart(form(), closing=False)], last=b""))
        answer = caller.read_response()
    assert answer.status in (413, 502)
    assert answer.header("x-should-retry") is None
    assert gateway.wait_for_row(request_id(answer), "released")["status"] == answer.status


def test_a_row_holds_no_more_of_the_callers_words_than_it_needs(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    upstream.reply(json_answer("hello"))
    answer = post(gateway, form(fields=[("response_format", "x" * 100_000)]))
    assert answer.status == 200
    assert gateway.row(request_id(answer))["response_format"] == "other"
    assert len(str(gateway.wait_for_log(request_id(answer)))) < 2_000


def test_an_error_that_is_streamed_has_no_key_in_it(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    echo = sse_frame({"error": {"message": f"bad key {PROVIDER_KEY}", "code": "x"}})
    upstream.reply(Reply(headers=[("Content-Type", "text/event-stream")], body=[(0, echo)], framing="chunked"))
    answer = httpx.post(
        f"{gateway.base_url}/audio/transcriptions",
        headers={"authorization": gateway.key},
        data={"model": "gpt-4o-transcribe", "stream": "true"},
        files={"file": ("a.wav", form()[-1].data)},
        timeout=10,
    )
    assert "[redacted]" in answer.text
    assert PROVIDER_KEY not in answer.text


def test_a_compressed_stream_is_not_passed_on(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    plain = sse_answer(["a"])
    upstream.reply(plain.but(headers=[*plain.headers, ("Content-Encoding", "br")]))
    answer = post(gateway, form("gpt-4o-transcribe", fields=[("stream", "true")]))
    assert (answer.status, error_of(answer)["code"]) == (502, "upstream_bad_response")
    assert answer.header("x-should-retry") == "false"
