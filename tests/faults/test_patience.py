"""The provider's deadlines: for its first byte, for its next event, in total."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from tests.behaviour.caller import CLIP, begin, connect, error_of, form, post, post_bytes, request_id
from tests.faults.answers import CUT, FIRST, is_charged_at_its_hold, is_unknown, raw, row_of, sse, stream
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import chunked, multipart
from tests.stubs.upstream import TOKENS, Reply, ScriptedUpstream, json_answer, sse_answer, sse_frame


@pytest.fixture(scope="module")
def impatient(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway whose timeouts are 0.3 s."""
    settings = "[timeouts]\nfirst_byte = 0.3\nsse_idle = 0.3\nbody_idle = 0.3\nlinger = 0.2"
    with GatewayProcess(tmp_path_factory.mktemp("impatient"), shared_upstream.base_url, settings) as process:
        yield process


def test_E78_a_provider_that_sends_no_response(impatient: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(Reply(hang=True))
    answer = post(impatient, form())
    assert (answer.status, error_of(answer)["code"]) == (504, "upstream_timeout")
    assert answer.header("x-should-retry") == "false"
    row = row_of(impatient, answer)
    assert (row["state"], row["error"]) == ("unknown", "upstream_timeout")
    assert is_charged_at_its_hold(row)
    upstream.wait_until(lambda: upstream.connections_open == 0)


def test_E78_interim_responses_do_not_extend_the_deadline(
    impatient: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    upstream.reply(raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000).but(close_after="never"))
    assert is_unknown(impatient, post(impatient, form()), 504, "upstream_timeout")


def test_E92_a_stream_that_stalls(impatient: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(sse(FIRST).but(body=[(0, FIRST), (60, FIRST)]))
    answer = stream(impatient)
    assert answer.complete is False
    assert answer.body.startswith(FIRST + CUT)
    assert impatient.wait_for_row(request_id(answer), "unknown")["error"] == "upstream_cut"
    upstream.wait_until(lambda: upstream.connections_open == 0)


def test_E92_the_first_byte_deadline_does_not_end_a_running_stream(
    impatient: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    upstream.reply(sse_answer(["a", "b", "c", "d"], TOKENS, delay=0.15))
    answer = stream(impatient)
    assert (answer.complete, row_of(impatient, answer)["state"]) == (True, "settled")


def test_D67_a_caller_that_stalls(impatient: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with connect(impatient) as caller:
        body = multipart(form(), closing=False)
        headers = [("Content-Length", str(len(body) + 100))]
        caller.send(post_bytes(impatient, b"", headers=headers) + body)
        answer = caller.read_response()
        assert (answer.status, error_of(answer)["code"]) == (408, "request_timeout")
        assert caller.closed()
    upstream.wait_until(lambda: upstream.journal[0].aborted)
    assert row_of(impatient, answer)["state"] == "released"


# -- slow, but alive ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bounded(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway whose upstream attempts end after 1.5 s."""
    with GatewayProcess(
        tmp_path_factory.mktemp("bounded"), shared_upstream.base_url, "[timeouts]\ntotal = 1.5"
    ) as process:
        yield process


@pytest.fixture(scope="module")
def measured(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that sends Content-Length, and whose upstream attempts end after 1.5 s."""
    settings = "[timeouts]\ntotal = 1.5"
    folder = tmp_path_factory.mktemp("measured")
    with GatewayProcess(folder, shared_upstream.base_url, settings, 'framing = "length"') as process:
        yield process


@pytest.mark.parametrize("framing", ["bounded", "measured"])
def test_M205_a_slow_upload_does_not_consume_the_providers_time(
    request: pytest.FixtureRequest, upstream: ScriptedUpstream, framing: str
) -> None:
    """The caller alone takes longer than the total deadline of an attempt."""
    gateway: GatewayProcess = request.getfixturevalue(framing)
    whole = multipart(form())
    with connect(gateway) as caller:
        begin(gateway, caller)
        for at in range(0, len(whole), 4000):
            caller.send(chunked([whole[at : at + 4000]], last=b""))
            Event().wait(0.5)
        caller.send(chunked([]))
        answer = caller.read_response()
    assert (answer.status, row_of(gateway, answer)["state"]) == (200, "settled")
    assert upstream.journal[0].file.data == CLIP


def test_M205_a_stream_with_a_slow_reader_is_relayed_completely(
    shared_upstream: ScriptedUpstream, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """More than all buffers hold waits for the caller, for longer than the total deadline of an attempt."""
    event = sse_frame({"type": "transcript.text.delta", "delta": "a" * 1_000_000})
    done = sse_frame({"type": "transcript.text.done", "text": "", "usage": TOKENS})
    upstream.reply(sse(b"").but(framing="chunked", body=[*((0.0, event) for _ in range(30)), (0.0, done)]))
    with GatewayProcess(tmp_path, upstream.base_url, "[timeouts]\ntotal = 5") as gateway, connect(gateway) as caller:
        caller.send(post_bytes(gateway, multipart(form("gpt-4o-transcribe", fields=[("stream", "true")]))))
        caller.read_until(b"\r\n\r\n")
        Event().wait(6)
        caller.read_until(done)
        caller.read_until(b"0\r\n\r\n")


def dripping(reply: Reply, piece: bytes, count: int, seconds: float) -> Reply:
    """Returns the reply with `count` pieces before its body, each after a pause."""
    assert isinstance(reply.body, bytes)
    return reply.but(framing="chunked", body=[*((seconds, piece) for _ in range(count)), (0.0, reply.body)])


def test_E100_a_dripping_response_ends_at_the_total_deadline(
    bounded: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    upstream.reply(dripping(json_answer("late"), b" ", 600, 0.05))
    assert is_unknown(bounded, post(bounded, form()), 504, "upstream_timeout")
    upstream.wait_until(lambda: upstream.connections_open == 0)


def test_E100_a_dripping_head_ends_at_the_total_deadline(bounded: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(json_answer("late").but(delay=60))
    assert is_unknown(bounded, post(bounded, form()), 504, "upstream_timeout")


def test_E100_a_dripping_stream_ends_at_the_total_deadline(bounded: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(dripping(sse(b""), FIRST, 600, 0.05))
    answer = stream(bounded)
    assert (answer.status, answer.complete) == (200, False)
    assert answer.body.startswith(FIRST + FIRST)
    assert CUT in answer.body
    row = bounded.wait_for_row(request_id(answer), "unknown")
    assert (row["error"], is_charged_at_its_hold(row)) == ("upstream_cut", True)
    upstream.wait_until(lambda: upstream.connections_open == 0)


def test_E100_a_dripping_response_that_ends_in_time_is_relayed(
    impatient: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    """Each pause is shorter than any deadline; together they exceed the deadline for the first byte."""
    upstream.reply(dripping(json_answer("late"), b" ", 10, 0.05))
    answer = post(impatient, form())
    assert (answer.status, answer.json()) == (200, {"text": "late"})
    assert row_of(impatient, answer)["state"] == "settled"


def test_E100_comments_do_not_extend_the_total_deadline(bounded: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(dripping(sse(b""), b": ping\n\n", 600, 0.05))
    answer = stream(bounded)
    assert answer.complete is False
    assert answer.body.startswith(b": ping\n\n")
    assert CUT in answer.body
