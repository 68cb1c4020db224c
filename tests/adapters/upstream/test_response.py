"""The response parser: the same result at every split of the bytes; what HTTP does not allow is ConnectionLost."""

import asyncio
import gc
from collections.abc import Iterable

import pytest

from app.adapters.upstream.response import MAX_FIELD_BYTES, MAX_FIELDS, MAX_UNFINISHED_BYTES, ResponseParser
from app.gateway.ports import ConnectionLost
from tests.wire.splits import splits

OK = b"HTTP/1.1 200 OK\r\n"
SIZED = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX-Late: 1\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def lines(count: int, size: int) -> bytes:
    return b"".join(b"X-%d: %b\r\n" % (number, b"a" * size) for number in range(count))


async def read_response(response: ResponseParser) -> tuple[int, bytes]:
    await response.head()
    return response.status, b"".join([chunk async for chunk in response.body()])


def status_and_body(response: ResponseParser) -> tuple[int, bytes]:
    return asyncio.run(read_response(response))


def parse(chunks: Iterable[bytes], *, end: bool = False) -> ResponseParser:
    response = ResponseParser()
    for chunk in chunks:
        if not response.is_finished:
            response.feed(chunk)
    if end:
        response.end()
    return response


# -- complete responses: status, body, whether the connection may be reused

COMPLETE: dict[str, tuple[bytes, int, bytes, bool]] = {
    "a length": (SIZED, 200, b"hello", True),
    "no body": (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
    "chunks, an extension and a trailer": (CHUNKED, 200, b"hello", True),
    "interim responses first": (CONTINUE * 3 + SIZED, 200, b"hello", True),
    "a blank line first": (b"\r\n" + SIZED, 200, b"hello", True),
    "no reason": (SIZED.replace(b" OK", b""), 200, b"hello", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b"", True),
    "close": (OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", False),
    "close in a trailer": (CHUNKED.replace(b"X-Late: 1", b"Connection: close"), 200, b"hello", False),
    "HTTP/1.0": (SIZED.replace(b"1.1", b"1.0"), 200, b"hello", False),
    "HTTP/1.0 kept alive": (
        SIZED.replace(b"1.1 200 OK\r\n", b"1.0 200 OK\r\nConnection: keep-alive\r\n"),
        200,
        b"hello",
        False,
    ),
    "HTTP/1.0 in chunks": (CHUNKED.replace(b"1.1", b"1.0"), 200, b"hello", False),
    "as many fields as may be": (OK + lines(MAX_FIELDS - 1, 10) + SIZED[len(OK) :], 200, b"hello", True),
    "a field as long as may be": (
        OK + b"X: %b\r\n" % (b"a" * (MAX_FIELD_BYTES - 1)) + SIZED[len(OK) :],
        200,
        b"hello",
        True,
    ),
}


@pytest.mark.parametrize("case", COMPLETE)
def test_a_complete_response_at_every_split(case: str) -> None:
    data, status, body, reusable = COMPLETE[case]
    for chunks in splits(data):
        response = parse(chunks)
        assert (response.is_finished, response.is_complete, response.keep_alive) == (True, True, reusable), chunks
        assert status_and_body(response) == (status, body)


@pytest.mark.parametrize("head", [b"", b"Connection: keep-alive\r\n"])
def test_the_end_of_the_connection_ends_a_response_without_length_or_chunks(head: bytes) -> None:
    for chunks in splits(OK + head + b"\r\nhello"):
        response = parse(chunks, end=True)
        assert (response.is_complete, response.keep_alive) == (True, False)
        assert status_and_body(response) == (200, b"hello")


def test_a_reset_does_not_complete_a_response() -> None:
    response = parse([OK + b"\r\nhello"])
    response.fail(ConnectionLost("reset"))
    assert not response.is_complete
    with pytest.raises(ConnectionLost):
        status_and_body(response)


# -- invalid responses

INVALID: dict[str, bytes] = {
    "a length and chunks": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunks and a length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "one length twice": OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": OK + b"Content-Length: 5, 5\r\n\r\nhello",
    "an empty length": OK + b"Content-Length: \r\n\r\nhello",
    "a length below zero": OK + b"Content-Length: -1\r\n\r\nhello",
    "a length beyond 64 bits": OK + b"Content-Length: 99999999999999999999\r\n\r\nhello",
    "a length that is too short": OK + b"Content-Length: 4\r\n\r\nhello",
    "an empty coding": OK + b"Transfer-Encoding: \r\n\r\nhello",
    "another response behind it": SIZED + SIZED,
    "a body where there is none": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    "LF for line ends": SIZED.replace(b"\r\n", b"\n"),
    "one LF for a line end": SIZED.replace(b"5\r\n", b"5\n"),
    "a lone CR": OK + b"X: a\rb\r\nContent-Length: 5\r\n\r\nhello",
    "a folded field": OK + b"X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
    "a folded length": OK + b"Content-Length:\r\n 5\r\n\r\nhello",
    "a field that begins with a space": OK + b" X: a\r\nContent-Length: 5\r\n\r\nhello",
    "a space before the colon": OK + b"Content-Length : 5\r\n\r\nhello",
    "NUL in a value": OK + b"X: a\0b\r\nContent-Length: 5\r\n\r\nhello",
    "NUL in the reason": SIZED.replace(b"OK", b"O\0K"),
    "a lone CR in the reason": SIZED.replace(b"OK", b"O\rK"),
    "NUL in a name": OK + b"X\0: a\r\nContent-Length: 5\r\n\r\nhello",
    "a chunk's size that is none": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a chunk's size with 0x": OK + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk's size below zero": OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
    "a chunk's size beyond 64 bits": OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "a chunk that is longer than its size": CHUNKED.replace(b"llo", b"lloo"),
    "a chunk without a line end": CHUNKED.replace(b"llo\r\n", b"llo"),
    "a length among the trailers": CHUNKED.replace(b"X-Late", b"Content-Length"),
    "HTTP/2.0": SIZED.replace(b"1.1", b"2.0"),
    "HTTP/0.9": SIZED.replace(b"1.1", b"0.9"),
    "four digits of status": SIZED.replace(b"200", b"2000"),
    "two digits of status": SIZED.replace(b"200", b"20"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\n\r\n",
    "a field that is too long": OK + b"X: %b\r\n" % (b"a" * MAX_FIELD_BYTES) + SIZED[len(OK) :],
    "too many fields": OK + lines(MAX_FIELDS + 1, 1) + SIZED[len(OK) :],
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_response_is_a_lost_connection_at_every_split(case: str) -> None:
    data = INVALID[case]
    behind = case in ("a length that is too short", "another response behind it", "a body where there is none")
    for chunks in [(data,)] if behind else splits(data):
        response = parse(chunks)
        assert (response.is_finished, response.is_complete) == (True, False), chunks
        with pytest.raises(ConnectionLost):
            status_and_body(response)


@pytest.mark.parametrize("data", [SIZED, CHUNKED, CONTINUE, CONTINUE + SIZED], ids=["sized", "chunked", "none", "late"])
def test_a_truncated_response_is_a_lost_connection(data: bytes) -> None:
    for at in range(len(data)):
        response = parse([data[:at]] if at else [], end=True)
        assert not response.is_complete
        with pytest.raises(ConnectionLost):
            status_and_body(response)


ENDLESS = {
    "a status line": b"HTTP/1.1 200 ",
    "a field": OK + b"X: ",
    "a name": OK,
    "a chunk's extension": OK + b"Transfer-Encoding: chunked\r\n\r\n1;",
    "a trailer": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ",
}


@pytest.mark.parametrize("case", ENDLESS)
def test_a_line_without_an_end_is_not_buffered(case: str) -> None:
    response, fed = parse([ENDLESS[case]]), 0
    while not response.is_finished:
        response.feed(b"a" * 1024)
        fed += 1024
        assert fed <= 2 * MAX_UNFINISHED_BYTES
    assert not response.is_complete


def test_interim_responses_are_skipped_however_many() -> None:
    response = parse([CONTINUE * 1000] * 20 + [SIZED])
    assert (response.is_complete, response.status) == (True, 200)


# -- awaiting head and body


def test_head_and_body_are_awaited() -> None:
    async def awaited() -> tuple[int, bytes]:
        response = ResponseParser()
        waiting = asyncio.create_task(read_response(response))
        for byte in CONTINUE + CHUNKED:
            await asyncio.sleep(0)
            response.feed(bytes([byte]))
        return await waiting

    assert asyncio.run(awaited()) == (200, b"hello")


def test_bytes_before_a_failure_are_yielded_first() -> None:
    async def awaited(response: ResponseParser) -> None:
        body = aiter(response.body())
        assert await anext(body) == b"hello"
        with pytest.raises(ConnectionLost):
            await anext(body)

    response = parse([OK + b"Content-Length: 9\r\n\r\nhello"])
    response.fail(ConnectionLost("reset"))
    asyncio.run(awaited(response))


@pytest.mark.parametrize(("sent", "after"), [(True, True), (False, False)])
def test_whether_a_response_began_after_the_request_was_sent(sent: bool, after: bool) -> None:
    response = ResponseParser()
    response.request_sent = sent
    response.feed(SIZED[:20])
    response.request_sent = True
    response.feed(SIZED[20:])
    assert (response.is_complete, response.began_after_request) == (True, after)


@pytest.mark.parametrize("chunks", [[SIZED], [SIZED[:-1]], [b"no HTTP"]], ids=["whole", "cut", "broken"])
def test_it_leaves_no_reference_cycle(chunks: list[bytes]) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            parse(chunks, end=True)
        assert gc.collect() == 0
    finally:
        gc.enable()
