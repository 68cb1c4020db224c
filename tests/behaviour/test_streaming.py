"""Uploads and events are relayed at once; the ends wait for the checks, the form's end and the ledger's commit."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from threading import Event

import pytest

from tests.audio import make
from tests.behaviour.caller import (
    CLIP,
    CLOSING,
    begin,
    connect,
    fence,
    form,
    post_bytes,
    request_id,
    sdk,
)
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import Part, RawConnection, chunked, multipart
from tests.stubs.reply import Step
from tests.stubs.upstream import TOKENS, Exchange, Reply, ScriptedUpstream, json_answer, sse_answer, sse_frame

# Our boundaries are hexadecimal, and the file's bytes are known: two dashes behind it are the end of a form.
CLOSING_MARK = b"--"

LONG_CLIP = make("wav", "pcm_s16le", 20)


@dataclass(frozen=True)
class Gated(Reply):
    """An answer each of whose pieces waits for a gate of its own."""

    gates: Sequence[Event] = ()

    def steps(self) -> Iterator[Step]:
        head, *rest = super().steps()
        yield head
        for gate, step in zip_longest(self.gates, rest):
            yield step._replace(gate=gate)


def gated_events(*frames: bytes) -> tuple[Gated, list[Event]]:
    gates = [Event() for _ in frames]
    pieces = [(0.0, frame) for frame in frames]
    return Gated(headers=[("Content-Type", "text/event-stream")], body=pieces, framing="chunked", gates=gates), gates


def delta(text: str) -> bytes:
    return sse_frame({"type": "transcript.text.delta", "delta": text})


DONE = sse_frame({"type": "transcript.text.done", "text": "ab", "usage": TOKENS})


def send(caller: RawConnection, *pieces: bytes) -> None:
    """Chunks of a body that goes on."""
    caller.send(chunked(pieces, last=b""))


def body_of(exchange: Exchange, data: bytes) -> Callable[[], bool]:
    """A predicate: these bytes have come as a part of the body."""
    return lambda: data in exchange.body


@contextmanager
def locked(gateway: GatewayProcess) -> Iterator[None]:
    """The ledger with a writer of ours inside of it, so that nobody else can commit."""
    connection = sqlite3.connect(gateway.ledger, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


# -- the way up -------------------------------------------------------------------------------------------------------


def test_an_upload_is_relayed_as_it_arrives(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    opening = multipart(form(audio=b""), closing=False).removesuffix(b"\r\n")
    with connect(gateway) as caller:
        begin(gateway, caller)
        send(caller, opening, CLIP[:4000])
        exchange = upstream.wait_for(1)
        for start in range(4000, len(CLIP), 4000):
            upstream.wait_until(body_of(exchange, CLIP[:start]))
            send(caller, CLIP[start : start + 4000])
        upstream.wait_until(body_of(exchange, CLIP))
        assert not exchange.complete
        caller.send(chunked([b"\r\n" + CLOSING]))
        answer = caller.read_response()
    assert (answer.status, answer.json()) == (200, {"text": "hello"})
    assert exchange.file.data == CLIP


def test_fields_after_the_file_are_relayed_after_it(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    whole = multipart([*form(), Part("prompt", b"names: Ada"), Part("temperature", b"0")])
    with connect(gateway) as caller:
        begin(gateway, caller)
        at = whole.index(CLIP) + len(CLIP)
        send(caller, whole[:at])
        exchange = upstream.wait_for(1)
        upstream.wait_until(body_of(exchange, CLIP[:-20]))
        caller.send(chunked([whole[at:]]))
        assert caller.read_response().status == 200
    assert [part.name for part in exchange.form()] == ["model", "file", "prompt", "temperature"]


def test_nothing_is_sent_upstream_before_the_model_is_known(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    """The file, larger than what a spool keeps in memory, comes first."""
    whole = multipart([Part("file", LONG_CLIP, "clip.wav"), Part("model", b"whisper-1"), Part("prompt", b"x")])
    at = whole.index(b"whisper-1")
    with connect(gateway) as caller:
        begin(gateway, caller)
        send(caller, whole[:at])
        fence(gateway)
        assert upstream.journal == []
        told_at = time.monotonic()
        caller.send(chunked([whole[at:]]))
        answer = caller.read_response()
    assert (answer.status, answer.json()) == (200, {"text": "hello"})
    (exchange,) = upstream.journal
    assert exchange.received_at > told_at
    assert exchange.file.data == LONG_CLIP


def test_nothing_is_sent_upstream_before_the_container_is_known(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    """An MP3 behind a long tag: what it is stands after the tag."""
    tag = b"ID3\x04\x00\x00\x00\x01\x00\x00" + bytes(1 << 14)
    audio = tag + make("mp3", "libmp3lame", 1.0, options=(("id3v2_version", "0"), ("write_xing", "0")))
    opening = multipart(form(audio=b""), closing=False).removesuffix(b"\r\n")
    with connect(gateway) as caller:
        begin(gateway, caller)
        send(caller, opening, audio[: len(tag)])
        fence(gateway)
        assert upstream.journal == []
        told_at = time.monotonic()
        caller.send(chunked([audio[len(tag) :], b"\r\n" + CLOSING]))
        assert caller.read_response().status == 200
    (exchange,) = upstream.journal
    assert exchange.received_at > told_at
    assert (exchange.file.filename, exchange.file.data) == ("audio.mp3", audio)


# -- the held tail ----------------------------------------------------------------------------------------------------


def test_the_closing_boundary_waits_for_the_hold_to_be_durable(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    with connect(gateway) as caller:
        with locked(gateway):
            caller.send(post_bytes(gateway, multipart(form())))
            exchange = upstream.wait_for(1)
            upstream.wait_until(body_of(exchange, CLIP))
            fence(gateway)
            assert not exchange.complete
            assert CLOSING_MARK not in exchange.body[exchange.body.index(CLIP) :]
            assert gateway.rows("state = 'held'") == []
        answer = caller.read_response()
    assert answer.status == 200
    assert exchange.complete
    row = gateway.row(request_id(answer))
    assert (row["state"], row["audio_ms"]) == ("settled", 500)


# -- the way down -----------------------------------------------------------------------------------------------------


def test_events_are_delivered_one_by_one_and_the_last_after_the_settlement(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    reply, (first, second, third) = gated_events(delta("a"), delta("b"), DONE)
    upstream.reply(reply)
    with sdk(gateway).audio.transcriptions.create(file=CLIP, model="gpt-4o-transcribe", stream=True) as stream:
        row_id = stream.response.headers["x-request-id"]
        first.set()
        event = next(stream)
        assert event.type == "transcript.text.delta"
        assert event.delta == "a"
        second.set()
        event = next(stream)
        assert event.type == "transcript.text.delta"
        assert event.delta == "b"
        assert gateway.row(row_id)["state"] == "held"
        third.set()
        event = next(stream)
        row = gateway.row(row_id)
        assert event.type == "transcript.text.done"
        assert (row["state"], row["total_tokens"], row["source"]) == ("settled", 59, "upstream")
        assert list(stream) == []


def test_an_event_is_delivered_when_it_is_complete(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    a, b = delta("a"), delta("b")
    reply, (first, second, third) = gated_events(a + b[:9], b[9:], DONE)
    upstream.reply(reply)
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, multipart(form("gpt-4o-transcribe", fields=[("stream", "true")]))))
        first.set()
        caller.read_until(b"\r\n\r\n")
        assert caller.read_until(b"\r\n") == b"%x" % len(a)
        assert caller.read_until(b"\r\n") == a
        fence(gateway)
        second.set()
        assert caller.read_until(b"\r\n") == b"%x" % len(b)
        assert caller.read_until(b"\r\n") == b
        third.set()
        assert caller.read_until(b"0\r\n\r\n").partition(b"\r\n")[2] == DONE + b"\r\n"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_the_end_of_a_response_waits_for_the_settlement(
    gateway: GatewayProcess, upstream: ScriptedUpstream, streamed: bool
) -> None:
    gate = Event()
    reply = sse_answer(["ab"], TOKENS, end_mark=True) if streamed else json_answer("ab", TOKENS)
    upstream.reply(reply.but(gate=gate))
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, multipart(form(fields=[("stream", "true")] if streamed else []))))
        exchange = upstream.wait_for(1)
        upstream.wait_until(lambda: exchange.complete)
        with locked(gateway):
            gate.set()
            upstream.wait_until(lambda: exchange.answered_at)
            fence(gateway)
            seen = seen_so_far(caller)
            assert delta("ab") in seen and b"done" not in seen if streamed else seen == b""
        answer = caller.read_response()
    assert answer.status == 200
    assert gateway.row(request_id(answer))["state"] == "settled"


def seen_so_far(caller: RawConnection) -> bytes:
    """What has come on this connection, without waiting; it stays there to be read."""
    caller.socket.setblocking(False)
    try:
        return caller.socket.recv(1 << 18, 2)  # MSG_PEEK
    except BlockingIOError:
        return b""
    finally:
        caller.socket.settimeout(10)
