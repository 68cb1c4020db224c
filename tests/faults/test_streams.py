"""Server-sent events: relayed byte for byte in any notation; a broken stream ends with an error and is cut."""

import json

import pytest
from openai import APIError

from tests.behaviour.caller import CLIP, form, post, request_id, sdk
from tests.faults.answers import CUT, DONE, FIRST, is_charged_at_its_hold, is_unknown, json_bytes, row_of, sse, stream
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import RawResponse
from tests.stubs.upstream import TOKENS, Reply, ScriptedUpstream, json_answer, sse_answer, sse_frame

BROKEN_STREAMS: dict[str, tuple[Reply, bytes]] = {
    "reset after an event": (sse(FIRST + FIRST, cut_after=len(FIRST)), FIRST),
    "closed after an event": (sse(FIRST + FIRST, cut_after=len(FIRST), cut="close"), FIRST),
    "closed in an event": (sse(FIRST + FIRST, cut_after=len(FIRST) + 20, cut="close"), FIRST),
    "closed before any event": (sse(FIRST, cut_after=5, cut="close"), b""),
    "ended without its last event": (sse(FIRST), FIRST),
    "ended without any event": (sse(b""), b""),
}


@pytest.mark.parametrize("fault", BROKEN_STREAMS)
def test_E80_E92_a_broken_stream_ends_with_an_error_and_is_cut(
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
    assert gateway.wait_for_log(row["id"])["level"] == "warning"
    assert row["error"] == "upstream_cut"
    assert is_charged_at_its_hold(row)


def test_E92_the_sdk_raises_on_a_broken_stream(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(sse_answer(["a", "b"], TOKENS).but(cut_after=70))
    events = sdk(gateway).audio.transcriptions.create(file=CLIP, model="gpt-4o-transcribe", stream=True)
    assert next(events).type == "transcript.text.delta"
    with pytest.raises(APIError, match="broke off") as raised:
        next(events)
    assert raised.value.code == "upstream_cut"


def test_E92_an_error_event_of_the_provider_is_relayed(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    events = FIRST + sse_frame({"error": {"message": "Overloaded.", "type": "server_error", "code": "busy"}})
    upstream.reply(sse(events))
    answer = stream(gateway)
    assert (answer.body, answer.complete) == (events, True)
    row = gateway.wait_for_row(request_id(answer), "unknown")
    assert (row["status"], row["error"]) == (200, "upstream_error")


FAILURES = {
    "by its name": b'event: error\ndata: {"message": "out of memory"}\n\n',
    "by its name alone": b"event: failure\ndata: out of memory\n\n",
    "by its type": sse_frame({"type": "transcript.failed", "reason": "out of memory"}),
    "in another shape": sse_frame({"code": 50001, "message": "out of memory"}),
}


@pytest.mark.parametrize("end_mark", [b"", b"data: [DONE]\n\n"], ids=["", "and the end mark"])
@pytest.mark.parametrize("failure", FAILURES)
def test_N226_an_error_in_another_format_does_not_complete_a_transcript(
    gateway: GatewayProcess, upstream: ScriptedUpstream, failure: str, end_mark: bytes
) -> None:
    """The gateway relays it and adds an error on which the SDKs raise, in place of the end mark."""
    upstream.reply(sse(FIRST + FAILURES[failure] + end_mark))
    answer = stream(gateway)
    assert answer.complete is False
    assert answer.body.startswith(
        FIRST + FAILURES[failure] + b'data: {"error": {"message": "The speech provider reported'
    )
    assert b"[DONE]" not in answer.body
    row = gateway.wait_for_row(request_id(answer), "unknown")
    assert (row["status"], row["error"]) == (200, "upstream_error")
    assert is_charged_at_its_hold(row)


def test_N226_an_end_mark_after_an_error_settles_nothing(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    events = FIRST + sse_frame({"error": {"message": "Overloaded."}})
    upstream.reply(sse(events + b"data: [DONE]\n\n"))
    answer = stream(gateway)
    assert (answer.body, answer.complete) == (events, True)
    assert gateway.wait_for_row(request_id(answer), "unknown")["error"] == "upstream_error"


def test_N226_a_transcript_that_completes_after_an_error_is_settled(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    """The provider may have retried."""
    upstream.reply(sse(FIRST + FAILURES["by its type"] + DONE))
    answer = stream(gateway)
    assert (answer.body, answer.complete) == (FIRST + FAILURES["by its type"] + DONE, True)
    assert row_of(gateway, answer)["total_tokens"] == 59


def test_N225_a_transcript_with_invalid_utf8_is_settled(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    events = FIRST + DONE.replace(b"hel", b"he\xc3")
    upstream.reply(sse(events))
    answer = stream(gateway)
    assert (answer.body, answer.complete) == (events, True)
    assert row_of(gateway, answer)["total_tokens"] == 59


def test_E80_a_stream_cut_after_its_last_event_is_settled(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    done = sse_frame({"type": "transcript.text.done", "text": "hel", "usage": TOKENS})
    upstream.reply(sse(FIRST + done + b"data: [DONE]\n\n", cut_after=len(FIRST + done)))
    answer = stream(gateway)
    assert (answer.body, answer.complete) == (FIRST + done, True)
    row = row_of(gateway, answer)
    assert (row["state"], row["total_tokens"]) == ("settled", 59)


FAILURES_BEHIND_THE_TRANSCRIPT: dict[str, Reply] = {
    "N244-reset": sse(FIRST + DONE + b"data: [DONE]\n\n", cut_after=len(FIRST + DONE) + 3),
    "N244-closed": sse(FIRST + DONE, cut_after=len(FIRST + DONE), cut="close"),
    "N244-an error": sse(FIRST + DONE + sse_frame({"error": {"message": "Overloaded.", "code": "busy"}})),
}


@pytest.mark.parametrize("fault", FAILURES_BEHIND_THE_TRANSCRIPT)
def test_the_sdk_does_not_raise_on_a_complete_transcript(
    gateway: GatewayProcess, upstream: ScriptedUpstream, fault: str
) -> None:
    upstream.reply(FAILURES_BEHIND_THE_TRANSCRIPT[fault])
    events = list(
        sdk(gateway, retries=2).audio.transcriptions.create(file=CLIP, model="gpt-4o-transcribe", stream=True)
    )
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert gateway.rows()[-1]["state"] == "settled"


# -- cuts at every offset ----------------------------------------------------------------------------------------------

CLOSING = b"0\r\n\r\n"


def on_the_wire(reply: Reply) -> bytes:
    return b"".join(step.data for step in reply.steps())


def cut_at(wire: bytes, offset: int, cut: str) -> Reply:
    return Reply(framing="raw", raw=wire, cut_after=offset).but(cut=cut)


@pytest.mark.parametrize("cut", ["close", "reset"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_E79_E80_a_response_cut_at_any_offset_is_an_error(
    gateway: GatewayProcess, upstream: ScriptedUpstream, framing: str, cut: str
) -> None:
    wire = on_the_wire(json_answer("hello", TOKENS).but(framing=framing))
    for offset in range(len(wire)):
        upstream.reply(cut_at(wire, offset, cut))
        answer = post(gateway, form())
        assert is_unknown(gateway, answer, 502, "upstream_error"), offset
    upstream.reply(cut_at(wire, len(wire), "close"))
    assert post(gateway, form()).status == 200


@pytest.mark.parametrize("cut", ["close", "reset"])
def test_E80_E92_a_stream_cut_at_any_offset_is_reported_as_cut(
    gateway: GatewayProcess, upstream: ScriptedUpstream, cut: str
) -> None:
    """Complete events are relayed, incomplete ones never. Reported usage is charged.

    Behind the event that ends the transcript nothing is missing: an error would have the caller pay for it twice.
    """
    head = on_the_wire(sse(b"")).removesuffix(CLOSING)
    body = on_the_wire(sse(FIRST)).removesuffix(CLOSING)[len(head) :]
    done = on_the_wire(sse(DONE)).removesuffix(CLOSING)[len(head) :]
    wire = head + body + done + CLOSING
    for offset in range(len(wire)):
        upstream.reply(cut_at(wire, offset, cut))
        answer = stream(gateway)
        if offset < len(head):
            assert is_unknown(gateway, answer, 502, "upstream_error"), offset
            continue
        shown, cut_off, error = answer.body.partition(CUT)
        whole = shown == FIRST + DONE
        assert whole or shown in (b"", FIRST), offset
        assert (answer.status, answer.complete, bool(cut_off)) == (200, whole, not whole), offset
        assert whole or error.endswith(b'"code": "upstream_cut"}}\n\n')
        assert gateway.wait_for_row(request_id(answer), "settled" if whole else "unknown")["status"] == 200


# -- notations of a stream ---------------------------------------------------------------------------------------------

DELTA = json.dumps({"type": "transcript.text.delta", "delta": "h\u00e9 \U0001f600"}, ensure_ascii=False).encode()
ODD: dict[str, bytes] = {
    "E93-comments": b": ping\n\n" + FIRST + b": ping\n" + DONE + b":\n\n",
    "E93-CRLF": (FIRST + DONE).replace(b"\n", b"\r\n"),
    "E93-CR": (FIRST + DONE).replace(b"\n", b"\r"),
    "E93-line ends of all kinds": FIRST.replace(b"\n\n", b"\r\n\n") + FIRST.replace(b"\n\n", b"\n\r") + DONE,
    "E93-a byte order mark": b"\xef\xbb\xbf" + DONE,
    "E93-no blank line at the end": FIRST + DONE.removesuffix(b"\n"),
    "E93-no line end at the end": FIRST + DONE.removesuffix(b"\n\n"),
    "E93-data over many lines": FIRST + DONE.replace(b', "', b',\ndata: "'),
    "E93-no space behind the colon": (FIRST + DONE).replace(b"data: ", b"data:"),
    "E93-event, id and retry": b"retry: 10\nid: 7\nevent: transcript.text.done\n" + DONE,
    "E93-characters of many bytes": b"data: " + DELTA + b"\n\n" + DONE,
    "E93-bytes that are not UTF-8": b"data: \xff\xfe\n\n" + DONE,
    "E93-an event of 1 MB": sse_frame({"type": "transcript.text.delta", "delta": "a" * 1_000_000}) + DONE,
    "E93-unknown events": sse_frame({"type": "transcript.text.mood"}) + b"data: no JSON\n\nmood\n\n" + DONE,
    "E93-empty events": b"\n\n\n" + FIRST + b"data\n\ndata:\n\n" + DONE,
    "E93-events behind the last": FIRST + DONE + FIRST + b"data: [DONE]\n\n: bye\n\n",
    "E93-the last event twice": FIRST + DONE + DONE.replace(b"59", b"99"),
    "E93-the end mark": FIRST + DONE + b"data: [DONE]\n\n",
}


@pytest.mark.parametrize("oddity", ODD)
def test_events_are_relayed_byte_for_byte(gateway: GatewayProcess, upstream: ScriptedUpstream, oddity: str) -> None:
    upstream.reply(sse(ODD[oddity]))
    answer = stream(gateway)
    assert (answer.status, answer.complete, answer.header("content-type")) == (200, True, "text/event-stream")
    assert answer.body == ODD[oddity]
    row = row_of(gateway, answer)
    assert (row["state"], row["total_tokens"], row["source"]) == ("settled", 59, "upstream")


def is_measured(gateway: GatewayProcess, answer: RawResponse) -> bool:
    row = row_of(gateway, answer)
    return (row["state"], row["source"], row["audio_ms"]) == ("settled", "measured", 500)


@pytest.mark.parametrize(
    "closing",
    [
        sse_frame({"type": "transcript.text.done", "text": "hel"}),
        sse_frame({"type": "transcript.text.done", "text": "hel", "usage": {"type": "tokens", "input_tokens": -1}}),
        sse_frame({"type": "transcript.text.done", "text": "hel", "usage": "much"}),
        b"data: [DONE]\n\n",
    ],
    ids=["none", "below zero", "words", "the end mark alone"],
)
def test_E93_a_final_event_without_usage_is_charged_by_measured_duration(
    gateway: GatewayProcess, upstream: ScriptedUpstream, closing: bytes
) -> None:
    upstream.reply(sse(FIRST + closing))
    answer = stream(gateway)
    assert (answer.complete, answer.body) == (True, FIRST + closing)
    assert is_measured(gateway, answer)


def test_E93_a_stream_may_be_split_at_any_offset(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    body = b"\xef\xbb\xbf: ping\r\n\r\ndata: " + DELTA + b"\r\r" + DONE.replace(b"\n", b"\r\n") + b"data: [DONE]\n\n"
    for offset in range(1, len(body)):
        upstream.reply(sse(b"").but(body=[(0, body[:offset]), (0.001, body[offset:])]))
        answer = stream(gateway)
        assert (answer.complete, answer.body) == (True, body), offset
        assert row_of(gateway, answer)["total_tokens"] == 59


def test_E90_an_event_without_an_end_ends_the_stream(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    endless = b"data: " + b"a" * (9 * 1024 * 1024)
    upstream.reply(sse(FIRST + endless + b"\n\n" + DONE))
    answer = stream(gateway)
    assert (answer.status, answer.complete) == (200, False)
    assert answer.body.startswith(FIRST)
    assert answer.body.endswith(b'"code": "upstream_bad_response"}}\n\n')
    assert len(answer.body) < 1_000
    row = gateway.wait_for_row(request_id(answer), "unknown")
    assert is_charged_at_its_hold(row)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_E93_a_compressed_stream_is_not_relayed(
    gateway: GatewayProcess, upstream: ScriptedUpstream, coding: str
) -> None:
    plain = sse_answer(["a"])
    upstream.reply(plain.but(headers=[*plain.headers, ("Content-Encoding", coding)]))
    assert is_unknown(gateway, stream(gateway), 502, "upstream_bad_response")


def test_E93_events_with_another_content_type_are_not_json(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(json_bytes(FIRST + DONE))
    assert is_unknown(gateway, stream(gateway), 502, "upstream_bad_response")


def test_E80_a_document_in_place_of_a_stream_is_relayed(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(json_answer("hello", TOKENS))
    answer = stream(gateway)
    assert (answer.status, answer.json()["text"], answer.header("content-type")) == (200, "hello", "application/json")
    assert row_of(gateway, answer)["total_tokens"] == 59
