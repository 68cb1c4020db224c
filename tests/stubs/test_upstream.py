"""The scripted upstream must show exactly what came and do exactly what it is told, or tests prove nothing."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.stubs.raw import Part, RawConnection, RawResponse, chunked, multipart, request
from tests.stubs.upstream import (
    TOKENS,
    Exchange,
    FormError,
    Reply,
    ScriptedUpstream,
    error_answer,
    json_answer,
    no_answer,
    sse_answer,
)

PATH = "/v1/audio/transcriptions"
FORM = multipart([Part("model", b"whisper-1"), Part("file", b"\x00\r\n--x", "audio.wav", "audio/wav")])
FORM_HEADERS = [("Content-Type", "multipart/form-data; boundary=test-boundary")]
CHUNKED = [("Transfer-Encoding", "chunked")]


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
def caller(upstream: ScriptedUpstream) -> Iterator[RawConnection]:
    with RawConnection("127.0.0.1", upstream.port) as caller:
        yield caller


def ask(caller: RawConnection, body: bytes = b"x") -> RawResponse:
    caller.send(request("POST", PATH, body=body))
    return caller.read_response()


def test_httpx_gets_the_scripts_in_order_and_then_the_default(upstream: ScriptedUpstream) -> None:
    upstream.reply(
        json_answer("one", TOKENS), error_answer(429, "rate_limited", "slow", headers=[("Retry-After", "7")])
    )
    upstream.default = lambda exchange: json_answer(exchange.file.filename or "")
    with httpx.Client(base_url=upstream.base_url, trust_env=False) as client:
        answers = [
            client.post("audio/transcriptions", data={"model": "m"}, files={"file": ("a.mp3", b"\0" * 9)})
            for _ in range(3)
        ]
    assert answers[0].json() == {"text": "one", "usage": TOKENS}
    assert (answers[1].status_code, answers[1].headers["retry-after"]) == (429, "7")
    assert answers[2].json() == {"text": "a.mp3"}
    assert [exchange.connection for exchange in upstream.journal] == [1, 1, 1]
    assert upstream.journal[0].field("model") == "m"
    assert upstream.journal[0].file.data == b"\0" * 9


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_body_is_the_same_in_chunks_of_any_size(upstream: ScriptedUpstream, caller: RawConnection, size: int) -> None:
    pieces = [FORM[at : at + size] for at in range(0, len(FORM), size)]
    caller.send(request("POST", PATH, [*FORM_HEADERS, *CHUNKED], chunked(pieces, b"0\r\nX-Late: 1\r\n\r\n")))
    assert caller.read_response().status == 200
    exchange = upstream.journal[0]
    assert exchange.headers[1:] == [*FORM_HEADERS, *CHUNKED]
    assert (exchange.body, exchange.complete, exchange.trailers) == (FORM, True, [b"X-Late: 1"])
    assert [(part.name, part.data) for part in exchange.form()] == [("model", b"whisper-1"), ("file", b"\x00\r\n--x")]
    assert sum(size for _, size in exchange.chunks) == len(FORM)


@pytest.mark.parametrize("body", [FORM[2:], b"x" + FORM, FORM + b"x", FORM[:-4], multipart([], closing=False)])
def test_only_a_whole_and_clean_form_is_parsed(upstream: ScriptedUpstream, caller: RawConnection, body: bytes) -> None:
    caller.send(request("POST", PATH, [*FORM_HEADERS, *CHUNKED], chunked([body] if body else [])))
    caller.read_response()
    with pytest.raises(FormError):
        upstream.journal[0].form()


def test_an_upload_that_is_cut_is_aborted_and_never_complete(upstream: ScriptedUpstream, caller: RawConnection) -> None:
    caller.send(request("POST", PATH, CHUNKED, chunked([b"abc"], last=b"")))
    exchange = upstream.wait_for(1)
    upstream.wait_until(lambda: exchange.size == 3)
    assert exchange.finished_at is None
    caller.close()
    upstream.wait_until(lambda: exchange.aborted and upstream.connections_open == 0)
    assert (exchange.complete, exchange.body) == (False, b"abc")


@pytest.mark.parametrize("framing", ["Content-Length: 3\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked"])
def test_bad_framing_of_a_body_is_told(upstream: ScriptedUpstream, caller: RawConnection, framing: str) -> None:
    caller.send(f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\nzz\r\n".encode())
    assert caller.closed()
    assert upstream.journal[0].fault
    assert not upstream.journal[0].complete


def test_a_head_that_is_not_http_fails_the_test() -> None:
    upstream = ScriptedUpstream().__enter__()
    with RawConnection("127.0.0.1", upstream.port) as caller:
        caller.send(b"POST /v1 HTTP/1.1\r\nHost : x\r\n\r\n")
        assert caller.closed()
    with pytest.raises(AssertionError, match="not a request head"):
        upstream.__exit__(None, None, None)


def test_an_early_answer_comes_while_the_upload_runs_and_reads_on(
    upstream: ScriptedUpstream, caller: RawConnection
) -> None:
    upstream.reply(error_answer(413, None, "too large").but(when="after_bytes", after=3))
    caller.send(request("POST", PATH, CHUNKED, chunked([b"abc"], last=b"")))
    assert caller.read_response().status == 413
    caller.send(chunked([b"def"]))
    upstream.wait_until(lambda: upstream.journal[0].complete)
    assert upstream.journal[0].body == b"abcdef"
    assert ask(caller).status == 200


def test_an_early_answer_can_close_the_connection(upstream: ScriptedUpstream, caller: RawConnection) -> None:
    upstream.reply(error_answer(401, None, "no").but(when="after_head", then="close"))
    caller.send(request("POST", PATH, CHUNKED, chunked([b"abc"], last=b"")))
    assert caller.read_response().status == 401
    assert caller.closed()
    upstream.wait_until(lambda: upstream.journal[0].aborted)


@pytest.mark.parametrize("leave", [RawConnection.reset, RawConnection.close])
def test_an_early_answer_can_hold_the_connection_without_reading(
    upstream: ScriptedUpstream, caller: RawConnection, leave: Callable[[RawConnection], None]
) -> None:
    upstream.reply(error_answer(429, None, "no").but(when="after_head", then="hold"))
    caller.send(request("POST", PATH, [("Content-Length", str(1 << 30))]))
    assert caller.read_response().status == 429
    caller.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        caller.send(bytes(64 << 20))
    assert upstream.journal[0].size == 0
    assert upstream.connections_open == 1
    leave(caller)
    upstream.wait_until(lambda: upstream.journal[0].aborted and upstream.connections_open == 0)


@pytest.mark.parametrize("cut", ["reset", "close"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("after", [0, 3, 5])
def test_an_answer_is_cut_at_the_byte(
    upstream: ScriptedUpstream, caller: RawConnection, cut: str, framing: str, after: int
) -> None:
    upstream.reply(Reply(body=[(0, b"hello"), (0, b"there")]).but(framing=framing, cut_after=after, cut=cut))
    answer = ask(caller)
    assert (answer.status, answer.body, answer.complete) == (200, b"hello"[:after], False)
    assert upstream.journal[0].complete
    assert upstream.journal[0].answered_at is None


def test_no_answer_at_all(upstream: ScriptedUpstream, caller: RawConnection) -> None:
    upstream.reply(no_answer())
    assert ask(caller).status == 0
    upstream.reply(Reply(hang=True))
    with RawConnection("127.0.0.1", upstream.port) as second:
        second.send(request("POST", PATH, body=b"x"))
        assert not second.closed(timeout=0.1)
        assert upstream.connections_open == 1
    upstream.wait_until(lambda: upstream.connections_open == 0)


def test_gates_hold_the_head_and_the_tail_for_any_number_of_callers(upstream: ScriptedUpstream) -> None:
    head, tail = threading.Event(), threading.Event()
    upstream.default = sse_answer(["a", "b"], TOKENS, end_mark=True).but(gate=head, tail_gate=tail)
    callers = [RawConnection("127.0.0.1", upstream.port) for _ in range(50)]
    for caller in callers:
        caller.send(request("POST", PATH, body=b"x"))
    upstream.wait_until(lambda: sum(exchange.complete for exchange in upstream.journal) == 50)
    assert not callers[0].closed(timeout=0.05)
    head.set()
    shown = b"".join(callers[0].read_until(b"\n\n\r\n") for _ in range(3))
    assert b"transcript.text.done" in shown
    assert not callers[0].closed(timeout=0.05)
    tail.set()
    assert callers[49].read_response().body.endswith(b"data: [DONE]\n\n")
    for caller in callers:
        caller.close()


@pytest.mark.parametrize("how", ["said", "silent", "never"])
def test_keep_alive_ends_as_told(upstream: ScriptedUpstream, caller: RawConnection, how: str) -> None:
    upstream.reply(json_answer("x").but(keep_alive_close_after=how))
    assert ask(caller).header("connection") == ("close" if how == "said" else None)
    assert caller.closed(timeout=0.1) == (how != "never")


def test_raw_bytes_and_wrong_headers_go_out_as_they_are(upstream: ScriptedUpstream, caller: RawConnection) -> None:
    upstream.reply(Reply(headers=[("Content-Length", "9")], body=b"four", keep_alive_close_after="silent"))
    answer = ask(caller)
    assert (answer.header("content-length"), answer.body, answer.complete) == ("9", b"four", False)
    upstream.reply(Reply(framing="raw", raw=b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\nto the end"))
    with RawConnection("127.0.0.1", upstream.port) as second:
        answer = ask(second)
    assert (answer.interim, answer.body, answer.complete) == ([103], b"to the end", True)


def test_expect_continue_is_answered_unless_the_answer_is_early(
    upstream: ScriptedUpstream, caller: RawConnection
) -> None:
    caller.send(request("POST", PATH, [("Expect", "100-continue"), ("Content-Length", "1")]))
    upstream.wait_for(1)
    caller.send(b"x")
    assert caller.read_response().interim == [100]


def test_without_bodies_size_and_digest_remain() -> None:
    with ScriptedUpstream(keep_bodies=False) as upstream, RawConnection("127.0.0.1", upstream.port) as caller:
        ask(caller, bytes(3_000_000))
        exchange = upstream.journal[0]
        assert exchange.size == 3_000_000
        assert exchange.sha256 == hashlib.sha256(bytes(3_000_000)).hexdigest()
        with pytest.raises(LookupError):
            _ = exchange.body


def test_closing_ends_waiting_connections_at_once() -> None:
    started = time.monotonic()
    with ScriptedUpstream() as upstream, RawConnection("127.0.0.1", upstream.port) as caller:
        upstream.reply(json_answer("never").but(gate=threading.Event()))
        caller.send(request("POST", PATH, body=b"x"))
        upstream.wait_until(lambda: upstream.journal and upstream.journal[0].complete)
    assert time.monotonic() - started < 20


def test_waiting_in_vain_tells_what_came(upstream: ScriptedUpstream, caller: RawConnection) -> None:
    ask(caller)
    with pytest.raises(TimeoutError, match="POST /v1/audio/transcriptions"):
        upstream.wait_for(2, timeout=0.05)


def test_a_script_that_raises_fails_the_test() -> None:
    def broken(exchange: Exchange) -> Reply:
        raise LookupError("no such script")

    upstream = ScriptedUpstream().__enter__()
    upstream.default = broken
    with RawConnection("127.0.0.1", upstream.port) as caller:
        assert ask(caller).status == 0
    with pytest.raises(AssertionError, match="no such script"):
        upstream.__exit__(None, None, None)
