"""A: invalid requests, and requests that could be read in two ways."""

import pytest

from app.wire import apikey
from tests.behaviour.caller import (
    CLIP,
    FORM,
    begin,
    connect,
    fence,
    form,
    held_row,
    post_bytes,
    request_id,
)
from tests.faults.heads import GET, HEALTH, HOST, UNREADABLE, audio, coding, head
from tests.faults.outcomes import counts_refusals, refused, refused_and_closed
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import chunked, multipart
from tests.stubs.upstream import ScriptedUpstream

UNKNOWN_KEY = apikey.mint(bytes(range(24)))
WHOLE = multipart(form())
STREAMING = multipart(form(), closing=False)


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_invalid_head_is_rejected(gateway: GatewayProcess, upstream: ScriptedUpstream, data: bytes) -> None:
    with connect(gateway) as caller:
        caller.send(data)
        refused_and_closed(caller, 400, "bad_request")
    assert upstream.journal == []


@pytest.mark.parametrize(
    "value",
    [
        "xchunked",
        "chunkedx",
        "gzip, chunked",
        "gzip",
        "identity",
        "deflate,chunked",
        ",chunked",
        "chunked;q=1",
        '"chunked"',
        "chunked identity",
        "chunked\xa0",
    ],
)
def test_A3_an_unknown_transfer_coding_is_rejected(
    gateway: GatewayProcess, upstream: ScriptedUpstream, value: str
) -> None:
    with connect(gateway) as caller:
        caller.send(coding(value))
        refused_and_closed(caller, 501, "unsupported_transfer_encoding")
    assert upstream.journal == []


def test_A1_A2_A3_A7_A8_A11_invalid_requests_are_not_in_the_ledger(gateway: GatewayProcess) -> None:
    with counts_refusals(gateway):
        for data in UNREADABLE.values():
            with connect(gateway) as caller:
                caller.send(data)
                assert caller.read_response().status == 400


@pytest.mark.parametrize("size", [5_000_000, 20_000_000])
def test_A1_a_caller_that_still_sends_can_read_the_error(gateway: GatewayProcess, size: int) -> None:
    both = [("Content-Length", "5"), ("Transfer-Encoding", "chunked")]
    with connect(gateway) as caller:
        caller.send(audio(*both) + bytes(size))
        refused_and_closed(caller, 400, "bad_request")


def test_A4_a_rejected_caller_reads_the_error_before_an_invalid_chunk(gateway: GatewayProcess) -> None:
    with connect(gateway) as caller:
        begin(gateway, caller, headers=[("Authorization", "nobody")])
        caller.send(chunked([b"x"], last=b""))
        fence(gateway)
        caller.send(b"zz\r\n" + bytes(5_000_000))
        refused_and_closed(caller, 401, "invalid_api_key")


@pytest.mark.parametrize("value", ["chunked", "Chunked", "CHUNKED", "chunked ", "\tchunked"])
def test_A3_chunked_in_any_notation(gateway: GatewayProcess, upstream: ScriptedUpstream, value: str) -> None:
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, chunked([WHOLE]), headers=[("Transfer-Encoding", value)]))
        assert caller.read_response().status == 200
    assert upstream.journal[0].file.data == CLIP


def test_A2_blanks_around_a_length_are_ignored(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, WHOLE, headers=[("Content-Length", f" \t{len(WHOLE)} \t")]))
        assert caller.read_response().status == 200
    assert upstream.journal[0].file.data == CLIP


def test_A16_blanks_around_an_expectation_are_ignored(gateway: GatewayProcess) -> None:
    headers = [("Content-Length", str(len(WHOLE))), ("Expect", "100-continue ")]
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, b"", headers=headers))
        assert caller.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
        caller.send(WHOLE)
        assert caller.read_response().status == 200


# -- chunks and trailers ----------------------------------------------------------------------------------------------

BAD_CHUNKS: dict[str, bytes] = {
    "hexadecimal": b"0x5\r\nhello\r\n",
    "minus": b"-1\r\nhello\r\n",
    "plus": b"+5\r\nhello\r\n",
    "17-digits": b"F" * 17 + b"\r\nhello",
    "empty": b"\r\nhello\r\n",
    "letter": b"g\r\nhello\r\n",
    "underscore": b"1_0\r\nhello\r\n",
    "blank-before": b" 5\r\nhello\r\n",
    "blank-behind": b"5 \r\nhello\r\n",
    "tab-behind": b"5\t\r\nhello\r\n",
    "lf": b"5\nhello\r\n",
    "cr": b"5\rhello\r\n",
    "lf-behind-data": b"5\r\nhello\n0\r\n\r\n",
    "longer-than-said": b"5\r\nhello!\r\n",
    "nul-in-extension": b"5;a=\0\r\nhello\r\n",
    "cr-in-extension": b"5;a=\rb\r\nhello\r\n",
    "lf-in-extension": b"5;a=b\nhello\r\n",
    "lf-end": b"0\n\n",
    "trailer-without-colon": b"0\r\nX\r\n\r\n",
    "trailer-with-nul": b"0\r\nX: \0\r\n\r\n",
    "trailer-with-fold": b"0\r\nX: 1\r\n 2\r\n\r\n",
    "trailer-with-length": b"0\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("chunk", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
def test_A4_an_invalid_chunk_before_the_reservation(
    gateway: GatewayProcess, upstream: ScriptedUpstream, chunk: bytes
) -> None:
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunk)
        refused_and_closed(caller, 400, "bad_request")
    assert upstream.journal == []


@pytest.mark.parametrize("chunk", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
def test_A4_an_invalid_chunk_ends_the_upload_and_releases_its_reservation(
    gateway: GatewayProcess, upstream: ScriptedUpstream, chunk: bytes
) -> None:
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([STREAMING], last=b""))
        exchange = upstream.wait_for(1)
        held = held_row(gateway)
        caller.send(chunk)
        answer = refused_and_closed(caller, 400, "bad_request")
    assert request_id(answer) == held["id"]
    upstream.wait_until(lambda: exchange.aborted)
    assert gateway.wait_for_row(held["id"], "released")["cost_nano_usd"] == 0


@pytest.mark.parametrize(
    "opening",
    [b"%x\r\n", b"%X\r\n", b"0000%x\r\n", b"%x;a=b\r\n", b'%x;a="b;c\\"d"\r\n', b"%x;a=" + b"x" * 60_000 + b"\r\n"],
    ids=["plain", "upper-case", "zeros", "extension", "quoted-extension", "long-extension"],
)
def test_A4_a_valid_chunk_in_another_notation(
    gateway: GatewayProcess, upstream: ScriptedUpstream, opening: bytes
) -> None:
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(opening % len(WHOLE) + WHOLE + b"\r\n0\r\n\r\n")
        assert caller.read_response().status == 200
    assert upstream.journal[0].file.data == CLIP


@pytest.mark.parametrize(
    "last",
    [
        [("Authorization", f"Bearer {UNKNOWN_KEY}")],
        [("X-Gateway-Tag", "project=other"), ("Expect", "100-continue"), ("Cookie", "a=b")],
        [("Host", "b"), ("Content-Type", "text/plain")],
        [(f"X-{number}", "1") for number in range(200)],
    ],
    ids=["key", "headers", "host", "many"],
)
def test_A6_trailers_change_nothing(
    gateway: GatewayProcess, upstream: ScriptedUpstream, last: list[tuple[str, str]]
) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in last)
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([WHOLE], f"0\r\n{lines}\r\n".encode()))
        answer = caller.read_response()
        assert answer.status == 200
        caller.send(HEALTH)
        assert caller.read_response().status == 200
    row = gateway.wait_for_row(request_id(answer), "settled")
    assert (row["caller"], row["tags"]) == ("team", "{}")
    (exchange,) = upstream.journal
    assert exchange.trailers == []
    assert not {name.lower() for name, _ in exchange.headers} & {"cookie", "x-gateway-tag", "expect", "x-0"}


def test_A6_connection_close_in_a_trailer_ends_the_connection(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([WHOLE], b"0\r\nConnection: close\r\n\r\n"))
        answer = caller.read_response()
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert caller.closed(20)


def test_A6_a_key_in_a_trailer_is_ignored(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    last = f"0\r\nAuthorization: Bearer {gateway.key}\r\n\r\n".encode()
    with connect(gateway) as caller:
        caller.send(audio(FORM, ("Transfer-Encoding", "chunked"), body=chunked([WHOLE], last)))
        refused(caller.read_response(), 401, "invalid_api_key")
    assert upstream.journal == []


def test_A4_a_chunk_of_maximum_size_ends_at_the_deadline(hasty: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Its size is valid. The deadline of the body ends it."""
    with connect(hasty) as caller:
        begin(hasty, caller)
        caller.send(b"F" * 16 + b"\r\n" + STREAMING)
        exchange = upstream.wait_for(1)
        refused_and_closed(caller, 408, "request_timeout")
    upstream.wait_until(lambda: exchange.aborted)


# -- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "opening",
    [GET + b"\r\nHost: a\r\nX: ", GET + b"\r\nHost: a\r\nX", b"GET /", b"0\r\nX: ", b"5;a="],
    ids=["A7-value", "A7-name", "A9-url", "A6-trailer", "A4-extension"],
)
def test_endless_lines_are_limited(gateway: GatewayProcess, opening: bytes) -> None:
    with connect(gateway) as caller:
        if not opening.startswith(b"GET"):
            begin(gateway, caller)
        caller.send(opening)
        for _ in range(100):
            caller.send(b"x" * 6000)
        refused_and_closed(caller, 431, "request_headers_too_large")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"X-%d: 1" % number for number in range(99)], 200),
        ([b"X-%d: 1" % number for number in range(100)], 431),
        ([b"X: " + b"x" * 65_000], 200),
        ([b"X: " + b"x" * 65 * 1024], 431),
        ([b"X-%d: " % number + b"x" * 7000 for number in range(10)], 431),
    ],
    ids=["100", "101", "64-kib", "65-kib", "70-kb-in-ten"],
)
def test_A7_limits_on_fields_and_bytes_of_a_head(gateway: GatewayProcess, lines: list[bytes], status: int) -> None:
    with connect(gateway) as caller:
        caller.send(head(GET, HOST, *lines))
        answer = caller.read_response()
    assert answer.status == status
    if status != 200:
        refused(answer, 431, "request_headers_too_large")
