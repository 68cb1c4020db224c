"""F: callers that disconnect: billed work is still settled, everything else is released."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import SHUT_WR, SO_RCVBUF, SOL_SOCKET
from threading import Event
from time import monotonic

import pytest

from tests.behaviour.caller import (
    CLIP,
    begin,
    connect,
    error_of,
    fence,
    form,
    held_row,
    post,
    post_bytes,
    request_id,
)
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import RawConnection, chunked, multipart, request
from tests.stubs.upstream import (
    TOKENS,
    Exchange,
    Reply,
    ScriptedUpstream,
    json_answer,
    no_answer,
    sse_answer,
    sse_frame,
)
from tests.stubs.vitals import vitals

Leave = Callable[[RawConnection], None]
LEAVES = pytest.mark.parametrize("leave", [RawConnection.close, RawConnection.reset], ids=["close", "reset"])

ASK = form("gpt-4o-transcribe")
ASK_STREAM = form("gpt-4o-transcribe", fields=[("stream", "true")])


def sent(gateway: GatewayProcess, upstream: ScriptedUpstream, caller: RawConnection, streamed: bool) -> Exchange:
    """Sends a complete request; returns the exchange before its response."""
    caller.send(post_bytes(gateway, multipart(ASK_STREAM if streamed else ASK)))
    exchange = upstream.wait_for(1)
    upstream.wait_until(lambda: exchange.complete)
    return exchange


# -- nothing is left behind -------------------------------------------------------------------------------------------


def open_files(gateway: GatewayProcess) -> int:
    return vitals(gateway.proc).files


def open_files_at_rest(gateway: GatewayProcess, upstream: ScriptedUpstream) -> int:
    """The open files without a connection; that of the fence may still be counted at first."""
    upstream.wait_until(lambda: upstream.connections_open == 0)
    looks = []
    for _ in range(5):
        fence(gateway)
        looks.append(open_files(gateway))
    return min(looks)


def wait_until_nothing_is_left(gateway: GatewayProcess, upstream: ScriptedUpstream, base: int) -> None:
    """Return when both sides of all connections are closed and no row is held. The upstream learns of an end later
    than the gateway's kernel.
    """
    fence(gateway)  # what was sent last may not have been read yet
    upstream.wait_until(lambda: upstream.connections_open == 0)
    deadline = monotonic() + 30
    while not nothing_held(gateway, base):
        assert monotonic() < deadline, (base, open_files(gateway), gateway.rows("state = 'held'"))
        fence(gateway)


def leave_mid_upload(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([multipart(form(), closing=False)], last=b""))
        upstream.wait_for(1)


def leave_before_the_model(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Disconnects while the file is in a spool on disk."""
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([multipart(form(None, CLIP + bytes(600_000)), closing=False)], last=b""))
        fence(gateway)


def leave_while_waiting(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(json_answer("a").but(delay=0.05, close_after="announced"))
    with connect(gateway) as caller:
        sent(gateway, upstream, caller, streamed=False)


def leave_in_a_stream(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(sse_answer(["a", "b"], TOKENS, delay=0.02).but(close_after="announced"))
    with connect(gateway) as caller:
        sent(gateway, upstream, caller, streamed=True)
        caller.read_until(b"\n\n")


def get_no_answer(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(no_answer())
    assert post(gateway, form()).status == 502


def be_refused(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    assert post(gateway, form(audio=b"MZ" + bytes(3000))).status == 400


WAYS_OUT = [
    leave_mid_upload,
    leave_before_the_model,
    leave_while_waiting,
    leave_in_a_stream,
    get_no_answer,
    be_refused,
]


@pytest.mark.parametrize("leave", WAYS_OUT, ids=[way.__name__ for way in WAYS_OUT])
def test_F101_F102_F103_no_outcome_leaves_an_open_file_or_a_held_row(
    gateway: GatewayProcess, upstream: ScriptedUpstream, leave: Callable[[GatewayProcess, ScriptedUpstream], None]
) -> None:
    """Counted from outside the process. No connection is reused, so that all can be counted."""
    closing = json_answer("a").but(close_after="announced")
    upstream.reset(closing)
    assert post(gateway, form()).status == 200
    base = open_files_at_rest(gateway, upstream)
    for _ in range(5):
        upstream.reset(closing)
        leave(gateway, upstream)
    wait_until_nothing_is_left(gateway, upstream, base)


# -- at every stage ----------------------------------------------------------------------------------------------------


def nothing_held(gateway: GatewayProcess, base: int) -> bool:
    return open_files(gateway) <= base and not gateway.rows("state = 'held'")


@LEAVES
def test_F101_a_disconnect_at_any_byte_leaves_nothing_open(
    gateway: GatewayProcess, upstream: ScriptedUpstream, leave: Leave
) -> None:
    """In the head, the model, the file or the closing boundary: no request is completed."""
    upstream.default = json_answer("a").but(close_after="announced")
    assert post(gateway, form()).status == 200
    base = open_files_at_rest(gateway, upstream)
    upstream.journal.clear()
    whole = post_bytes(gateway, multipart(form()))
    ends = {0, 1, len(whole) - 1, len(whole) - 5}
    for offset in sorted({*ends, *range(0, 700, 50), *range(700, len(whole), 1999)}):
        with connect(gateway) as caller:
            caller.send(whole[:offset])
            leave(caller)
    wait_until_nothing_is_left(gateway, upstream, base)
    assert [exchange for exchange in upstream.journal if exchange.complete] == []
    assert {row["error"] for row in gateway.rows("state = 'released'")} == {"client_closed_request"}


def test_F101_a_half_close_during_the_upload_is_a_disconnect(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([multipart(form(), closing=False)], last=b""))
        exchange = upstream.wait_for(1)
        row_id = held_row(gateway)["id"]
        caller.socket.shutdown(SHUT_WR)
        assert caller.closed(timeout=30)
    upstream.wait_until(lambda: exchange.aborted)
    assert gateway.wait_for_row(row_id, "released")["error"] == "client_closed_request"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_F102_F103_a_half_close_after_the_request_still_gets_the_response(
    gateway: GatewayProcess, upstream: ScriptedUpstream, streamed: bool
) -> None:
    gate = Event()
    reply = sse_answer(["a", "b"], TOKENS) if streamed else json_answer("a", TOKENS)
    upstream.reply(reply.but(gate=gate))
    with connect(gateway) as caller:
        sent(gateway, upstream, caller, streamed)
        caller.socket.shutdown(SHUT_WR)
        fence(gateway)
        gate.set()
        answer = caller.read_response()
        assert (answer.status, answer.complete, answer.header("connection")) == (200, True, "close")
        assert caller.closed()
    assert gateway.row(request_id(answer))["total_tokens"] == 59


def test_F102_a_half_close_followed_by_a_disconnect_is_charged_its_usage(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    gate = Event()
    upstream.reply(json_answer("a", TOKENS).but(gate=gate))
    with connect(gateway) as caller:
        sent(gateway, upstream, caller, streamed=False)
        row_id = held_row(gateway)["id"]
        caller.socket.shutdown(SHUT_WR)
        fence(gateway)
    gate.set()
    assert gateway.wait_for_row(row_id, "settled")["total_tokens"] == 59


def test_F102_a_half_close_of_an_idle_connection_closes_it(gateway: GatewayProcess) -> None:
    with connect(gateway) as caller:
        caller.send(request("GET", "/healthz"))
        assert caller.read_response().status == 200
        caller.socket.shutdown(SHUT_WR)
        assert caller.closed(timeout=30)


# -- usage after a disconnect ------------------------------------------------------------------------------------


@LEAVES
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_F102_a_disconnect_before_the_response_is_charged_its_usage(
    gateway: GatewayProcess, upstream: ScriptedUpstream, leave: Leave, streamed: bool
) -> None:
    gate = Event()
    reply = sse_answer(["a"], TOKENS) if streamed else json_answer("a", TOKENS)
    upstream.reply(reply.but(gate=gate))
    with connect(gateway) as caller:
        sent(gateway, upstream, caller, streamed)
        leave(caller)
    row_id = held_row(gateway)["id"]
    fence(gateway)
    assert gateway.row(row_id)["state"] == "held"
    gate.set()
    row = gateway.wait_for_row(row_id, "settled")
    assert (row["total_tokens"], row["source"], row["status"]) == (59, "upstream", 200)
    assert gateway.wait_for_log(row_id)["total_tokens"] == 59


@LEAVES
def test_F103_a_disconnect_during_a_stream_is_charged_its_usage(
    gateway: GatewayProcess, upstream: ScriptedUpstream, leave: Leave
) -> None:
    gate = Event()
    upstream.reply(sse_answer(["a", "b", "c"], TOKENS).but(tail_gate=gate))
    with connect(gateway) as caller:
        exchange = sent(gateway, upstream, caller, streamed=True)
        caller.read_until(b'"delta": "c"}\n\n')
        row_id = held_row(gateway)["id"]
        leave(caller)
    gate.set()
    row = gateway.wait_for_row(row_id, "settled")
    assert (row["total_tokens"], row["source"]) == (59, "upstream")
    assert exchange.answered_at is not None


@LEAVES
def test_F103_a_stream_that_breaks_off_after_the_disconnect(
    gateway: GatewayProcess, upstream: ScriptedUpstream, leave: Leave
) -> None:
    gate = Event()
    first, second = (sse_frame({"type": "transcript.text.delta", "delta": text}) for text in "ab")
    reply = Reply(headers=[("Content-Type", "text/event-stream")], body=[(0, first), (0, second)], framing="chunked")
    upstream.reply(reply.but(tail_gate=gate, cut_after=len(first) + 9))
    with connect(gateway) as caller:
        sent(gateway, upstream, caller, streamed=True)
        caller.read_until(first)
        row_id = held_row(gateway)["id"]
        leave(caller)
    gate.set()
    row = gateway.wait_for_row(row_id, "unknown")
    assert (row["error"], row["cost_nano_usd"]) == ("upstream_cut", row["bound_nano_usd"])


@pytest.fixture(scope="module")
def hasty(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that waits 0.3 s for a caller to read."""
    settings = "[timeouts]\nwrite_idle = 0.3"
    with GatewayProcess(tmp_path_factory.mktemp("hasty"), shared_upstream.base_url, settings) as process:
        yield process


def test_F103_a_caller_that_does_not_read_blocks_nothing(hasty: GatewayProcess, upstream: ScriptedUpstream) -> None:
    event = sse_frame({"type": "transcript.text.delta", "delta": "a" * 1_000_000})
    done = sse_frame({"type": "transcript.text.done", "text": "", "usage": TOKENS})
    body = [*((0.0, event) for _ in range(20)), (0.0, done)]
    upstream.reply(Reply(headers=[("Content-Type", "text/event-stream")], body=body, framing="chunked"))
    with connect(hasty) as caller:
        caller.send(post_bytes(hasty, multipart(ASK_STREAM)))
        row = hasty.wait_for_row(held_row(hasty)["id"], "settled")
    assert row["total_tokens"] == 59


# -- bounded in number and in time -------------------------------------------------------------------------------------


def test_F102_a_disconnected_request_keeps_its_lease_while_the_provider_works(
    shared_upstream: ScriptedUpstream, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    gate = Event()
    upstream.reply(json_answer("a", TOKENS).but(gate=gate))
    with GatewayProcess(tmp_path, upstream.base_url, "[server]\nmax_requests = 1") as narrow:
        with connect(narrow) as caller:
            sent(narrow, upstream, caller, streamed=False)
        row_id = held_row(narrow)["id"]
        fence(narrow)
        refused = post(narrow, form())
        assert (refused.status, error_of(refused)["code"]) == (503, "overloaded")
        gate.set()
        narrow.wait_for_row(row_id, "settled")
        fence(narrow)
        assert post(narrow, form()).status == 200


def test_F102_the_wait_for_a_response_after_a_disconnect_is_limited(
    shared_upstream: ScriptedUpstream, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.reply(Reply(hang=True))
    with GatewayProcess(tmp_path, upstream.base_url, "[timeouts]\nfirst_byte = 0.5") as impatient:
        with connect(impatient) as caller:
            sent(impatient, upstream, caller, streamed=False)
        row_id = held_row(impatient)["id"]
        row = impatient.wait_for_row(row_id, "unknown")
        assert (row["error"], row["cost_nano_usd"]) == ("upstream_timeout", row["bound_nano_usd"])
        upstream.wait_until(lambda: upstream.connections_open == 0)


# -- slow readers --------------------------------------------------------------------------------------------------


def slow_reader(gateway: GatewayProcess) -> RawConnection:
    """A caller with a small receive buffer."""
    caller = connect(gateway)
    caller.socket.setsockopt(SOL_SOCKET, SO_RCVBUF, 1 << 16)
    return caller


def read_slowly(caller: RawConnection, pauses: int) -> bytes:
    """Reads in small pieces, with a pause after each of the first ones."""
    pause = Event()
    pieces: list[bytes] = []
    while piece := caller.socket.recv(16_384 if len(pieces) < pauses else 1 << 20):
        pieces.append(piece)
        pause.wait(0.02 if len(pieces) <= pauses else 0)
    return b"".join(pieces)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_F102_F103_a_slow_reader_gets_the_whole_response(
    hasty: GatewayProcess, upstream: ScriptedUpstream, streamed: bool
) -> None:
    """It takes longer than the timeout for a caller that reads nothing."""
    text = "a" * 3_000_000
    event = sse_frame({"type": "transcript.text.delta", "delta": text})
    done = sse_frame({"type": "transcript.text.done", "text": "", "usage": TOKENS})
    reply = Reply(headers=[("Content-Type", "text/event-stream")], body=event + done, framing="chunked")
    upstream.reply(reply if streamed else json_answer(text, TOKENS))
    with slow_reader(hasty) as caller:
        ask = multipart(ASK_STREAM if streamed else ASK)
        caller.send(post_bytes(hasty, ask, headers=[("Connection", "close")]))
        head, _, body = read_slowly(caller, 50).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    if streamed:
        assert body.endswith(b"0\r\n\r\n")
        assert body.count(b"a" * 100_000) >= 29
    else:
        assert json.loads(body)["text"] == text
    row_id = head.partition(b"x-request-id: ")[2].split(b"\r\n")[0].decode()
    assert hasty.wait_for_row(row_id, "settled")["total_tokens"] == 59


def test_F102_a_caller_that_never_reads_is_cut_off(hasty: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(json_answer("a" * 20_000_000, TOKENS).but(close_after="announced"))
    fence(hasty)
    with slow_reader(hasty) as caller:
        base = open_files(hasty)
        sent(hasty, upstream, caller, streamed=False)
        row_id = hasty.wait_for_row(held_row(hasty)["id"], "settled")["id"]
        deadline = monotonic() + 30
        while open_files(hasty) >= base:
            assert monotonic() < deadline
            fence(hasty)
    assert hasty.row(row_id)["total_tokens"] == 59
