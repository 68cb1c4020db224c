"""Answers as bytes: each comes to the same whole, byte by byte and at every split; what HTTP does not allow ends it."""

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


async def telling(answer: ResponseParser) -> tuple[int, bytes]:
    await answer.head()
    return answer.status, b"".join([piece async for piece in answer.body()])


def told(answer: ResponseParser) -> tuple[int, bytes]:
    return asyncio.run(telling(answer))


def read(pieces: Iterable[bytes], *, end: bool = False) -> ResponseParser:
    answer = ResponseParser()
    for piece in pieces:
        if not answer.is_over:
            answer.feed(piece)
    if end:
        answer.end()
    return answer


# -- whole answers: status, body, whether the connection may be used again

WHOLE: dict[str, tuple[bytes, int, bytes, bool]] = {
    "a length": (SIZED, 200, b"hello", True),
    "no body": (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
    "chunks, an extension and a trailer": (CHUNKED, 200, b"hello", True),
    "interim answers first": (CONTINUE * 3 + SIZED, 200, b"hello", True),
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


@pytest.mark.parametrize("case", WHOLE)
def test_a_whole_answer_at_every_split(case: str) -> None:
    data, status, body, again = WHOLE[case]
    for pieces in splits(data):
        answer = read(pieces)
        assert (answer.is_over, answer.is_whole, answer.keeps_alive) == (True, True, again), pieces
        assert told(answer) == (status, body)


@pytest.mark.parametrize("head", [b"", b"Connection: keep-alive\r\n"])
def test_the_end_of_the_connection_is_the_end_of_an_answer_that_tells_no_other(head: bytes) -> None:
    for pieces in splits(OK + head + b"\r\nhello"):
        answer = read(pieces, end=True)
        assert (answer.is_whole, answer.keeps_alive) == (True, False)
        assert told(answer) == (200, b"hello")


def test_a_reset_is_no_end() -> None:
    answer = read([OK + b"\r\nhello"])
    answer.fail(ConnectionLost("reset"))
    assert not answer.is_whole
    with pytest.raises(ConnectionLost):
        told(answer)


# -- answers that are none

BROKEN: dict[str, bytes] = {
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
    "another answer behind it": SIZED + SIZED,
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


@pytest.mark.parametrize("case", BROKEN)
def test_what_http_does_not_allow_is_broken_at_every_split(case: str) -> None:
    data = BROKEN[case]
    behind = case in ("a length that is too short", "another answer behind it", "a body where there is none")
    for pieces in [(data,)] if behind else splits(data):
        answer = read(pieces)
        assert (answer.is_over, answer.is_whole) == (True, False), pieces
        with pytest.raises(ConnectionLost):
            told(answer)


@pytest.mark.parametrize("data", [SIZED, CHUNKED, CONTINUE, CONTINUE + SIZED], ids=["sized", "chunked", "none", "late"])
def test_an_answer_that_breaks_off_is_broken(data: bytes) -> None:
    for at in range(len(data)):
        answer = read([data[:at]] if at else [], end=True)
        assert not answer.is_whole
        with pytest.raises(ConnectionLost):
            told(answer)


ENDLESS = {
    "a status line": b"HTTP/1.1 200 ",
    "a field": OK + b"X: ",
    "a name": OK,
    "a chunk's extension": OK + b"Transfer-Encoding: chunked\r\n\r\n1;",
    "a trailer": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ",
}


@pytest.mark.parametrize("case", ENDLESS)
def test_a_line_without_an_end_is_not_kept(case: str) -> None:
    answer, fed = read([ENDLESS[case]]), 0
    while not answer.is_over:
        answer.feed(b"a" * 1024)
        fed += 1024
        assert fed <= 2 * MAX_UNFINISHED_BYTES
    assert not answer.is_whole


def test_interim_answers_are_skipped_however_many() -> None:
    answer = read([CONTINUE * 1000] * 20 + [SIZED])
    assert (answer.is_whole, answer.status) == (True, 200)


# -- what is awaited


def test_head_and_body_are_awaited() -> None:
    async def awaited() -> tuple[int, bytes]:
        answer = ResponseParser()
        waiting = asyncio.create_task(telling(answer))
        for each in CONTINUE + CHUNKED:
            await asyncio.sleep(0)
            answer.feed(bytes([each]))
        return await waiting

    assert asyncio.run(awaited()) == (200, b"hello")


def test_what_came_before_a_failure_is_told_before_it() -> None:
    async def awaited(answer: ResponseParser) -> None:
        body = aiter(answer.body())
        assert await anext(body) == b"hello"
        with pytest.raises(ConnectionLost):
            await anext(body)

    answer = read([OK + b"Content-Length: 9\r\n\r\nhello"])
    answer.fail(ConnectionLost("reset"))
    asyncio.run(awaited(answer))


@pytest.mark.parametrize(("out", "in_turn"), [(True, True), (False, False)])
def test_an_answer_is_in_turn_if_it_began_after_the_form_was_out(out: bool, in_turn: bool) -> None:
    answer = ResponseParser()
    answer.form_is_out = out
    answer.feed(SIZED[:20])
    answer.form_is_out = True
    answer.feed(SIZED[20:])
    assert (answer.is_whole, answer.in_turn) == (True, in_turn)


@pytest.mark.parametrize("pieces", [[SIZED], [SIZED[:-1]], [b"no HTTP"]], ids=["whole", "cut", "broken"])
def test_it_leaves_no_circle_behind(pieces: list[bytes]) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            read(pieces, end=True)
        assert gc.collect() == 0
    finally:
        gc.enable()
