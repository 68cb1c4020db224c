"""The faults that the scripted upstream must report itself: without these checks other tests would prove nothing."""

from collections.abc import Iterator

import pytest

from tests.stubs.raw import Part, RawConnection, RawResponse, chunked, multipart, request
from tests.stubs.upstream import (
    Exchange,
    FormError,
    Reply,
    ScriptedUpstream,
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


def send(caller: RawConnection, body: bytes = b"x") -> RawResponse:
    caller.send(request("POST", PATH, body=body))
    return caller.read_response()


@pytest.mark.parametrize("body", [FORM[2:], b"x" + FORM, FORM + b"x", FORM[:-4], multipart([], closing=False)])
def test_only_a_complete_and_valid_form_is_parsed(
    upstream: ScriptedUpstream, caller: RawConnection, body: bytes
) -> None:
    caller.send(request("POST", PATH, [*FORM_HEADERS, *CHUNKED], chunked([body] if body else [])))
    caller.read_response()
    with pytest.raises(FormError):
        upstream.journal[0].form()


def test_a_truncated_upload_is_aborted_and_never_complete(upstream: ScriptedUpstream, caller: RawConnection) -> None:
    caller.send(request("POST", PATH, CHUNKED, chunked([b"abc"], last=b"")))
    exchange = upstream.wait_for(1)
    upstream.wait_until(lambda: exchange.size == 3)
    assert exchange.finished_at is None
    caller.close()
    upstream.wait_until(lambda: exchange.aborted and upstream.connections_open == 0)
    assert (exchange.complete, exchange.body) == (False, b"abc")


@pytest.mark.parametrize("framing", ["Content-Length: 3\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked"])
def test_invalid_framing_of_a_body_is_reported(upstream: ScriptedUpstream, caller: RawConnection, framing: str) -> None:
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


@pytest.mark.parametrize("cut", ["reset", "close"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("after", [0, 3, 5])
def test_a_response_is_cut_at_the_exact_byte(
    upstream: ScriptedUpstream, caller: RawConnection, cut: str, framing: str, after: int
) -> None:
    upstream.reply(Reply(body=[(0, b"hello"), (0, b"there")]).but(framing=framing, cut_after=after, cut=cut))
    response = send(caller)
    assert (response.status, response.body, response.complete) == (200, b"hello"[:after], False)
    assert upstream.journal[0].complete
    assert upstream.journal[0].answered_at is None


def test_a_script_that_raises_fails_the_test() -> None:
    def broken(exchange: Exchange) -> Reply:
        raise LookupError("no such script")

    upstream = ScriptedUpstream().__enter__()
    upstream.default = broken
    with RawConnection("127.0.0.1", upstream.port) as caller:
        assert send(caller).status == 0
    with pytest.raises(AssertionError, match="no such script"):
        upstream.__exit__(None, None, None)
