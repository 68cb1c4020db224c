"""What strangers do to a connection: unreadable, unfinished, unending, unread."""

import time
from collections.abc import Iterator

import pytest

from tests.behaviour.caller import connect, error_of
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import RawConnection, chunked, request
from tests.stubs.upstream import ScriptedUpstream

AUDIO = "/v1/audio/transcriptions"
HEALTH = request("GET", "/healthz")


@pytest.fixture(scope="module")
def hasty(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that waits a second for everything."""
    settings = "[timeouts]\nkeep_alive = 1\nhead = 1\nwrite_idle = 1"
    with GatewayProcess(tmp_path_factory.mktemp("hasty"), shared_upstream.base_url, settings) as process:
        yield process


def is_refused(caller: RawConnection, status: int = 400) -> None:
    answer = caller.read_response()
    assert (answer.status, answer.complete) == (status, True)
    assert error_of(answer)["code"]
    assert answer.header("x-request-id")
    assert answer.header("connection") == "close"
    assert caller.closed()


def post(*headers: tuple[str, str], body: bytes = b"") -> bytes:
    return request("POST", AUDIO, headers, body)


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


GET = b"GET /v1/models HTTP/1.1"
UNREADABLE: dict[str, tuple[bytes, int]] = {
    "A1 both": (post(("Content-Length", "5"), ("Transfer-Encoding", "chunked")), 400),
    "A2 differing": (post(("Content-Length", "5"), ("Content-Length", "6")), 400),
    "A2 list": (post(("Content-Length", "5, 5")), 400),
    "A2 plus": (post(("Content-Length", "+5")), 400),
    "A2 minus": (post(("Content-Length", "-5")), 400),
    "A2 hex": (post(("Content-Length", "0x5")), 400),
    "A2 digits": (post(("Content-Length", "1" * 31)), 400),
    "A3 gzip": (post(("Transfer-Encoding", "gzip, chunked")), 501),
    "A3 1.0": (post(("Transfer-Encoding", "chunked")).replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    "A7 LF": (b"GET /v1/models HTTP/1.1\nHost: a\n\n", 400),
    "A7 fold": (head(GET, b"Host: a", b"X: a", b" b"), 400),
    "A7 space": (head(GET, b"Host : a"), 400),
    "A7 NUL": (head(GET, b"Host: a", b"X: a\0b"), 400),
    "A7 CR": (head(GET, b"Host: a", b"X: a\rb"), 400),
    "A8 none": (head(GET), 400),
    "A8 two": (head(GET, b"Host: a", b"Host: b"), 400),
    "A11 garbage": (b"\x00\xff garbage\r\n\r\n", 400),
    "A11 TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "A11 HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "A11 1.2": (head(b"GET /v1/models HTTP/1.2", b"Host: a"), 400),
    "HTTP/0.9": (b"GET /v1/models\r\n\r\n", 400),
    "h2c": (post(("Connection", "Upgrade"), ("Upgrade", "h2c"), body=HEALTH), 400),
    "CONNECT": (head(b"CONNECT a:443 HTTP/1.1", b"Host: a:443") + HEALTH, 400),
    "URL": (head(b"GET http://:x/ HTTP/1.1", b"Host: a"), 400),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_an_unreadable_head(hasty: GatewayProcess, case: str) -> None:
    data, status = UNREADABLE[case]
    with connect(hasty) as caller:
        caller.send(data)
        is_refused(caller, status)


@pytest.mark.parametrize("value", ["xchunked", "chunked, identity"])
def test_a_transfer_encoding_that_does_not_end_in_chunked(hasty: GatewayProcess, value: str) -> None:
    with connect(hasty) as caller:
        caller.send(post(("Transfer-Encoding", value)))
        answer = caller.read_response()
        assert answer.status in (400, 501)
        assert caller.closed()


@pytest.mark.parametrize("size", [b"0x5", b"-1", b"F" * 17, b""])
def test_a_bad_chunk_size(hasty: GatewayProcess, size: bytes) -> None:
    with connect(hasty) as caller:
        caller.send(post(("Authorization", hasty.key), ("Transfer-Encoding", "chunked")) + size + b"\r\nabc")
        is_refused(caller)


@pytest.mark.parametrize("path", ["/@evil", "//v1/models", "/v1/%2e%2e/models", "/v1/models%00", "/v1/models;a"])
def test_a_path_is_taken_as_it_is(hasty: GatewayProcess, path: str) -> None:
    with connect(hasty) as caller:
        caller.send(request("GET", path))
        assert caller.read_response().status in (400, 401, 404)


@pytest.mark.parametrize(
    "opening",
    [GET + b"\r\nHost: a\r\nX: ", b"GET /", post(("Transfer-Encoding", "chunked")) + b"0\r\nX: "],
    ids=["value", "URL", "trailer"],
)
def test_an_unfinished_field_is_bounded(hasty: GatewayProcess, opening: bytes) -> None:
    if b"chunked" in opening:
        opening = opening.replace(
            b"Host:",
            b"Authorization: " + hasty.key.encode() + b"\r\nContent-Type: multipart/form-data; boundary=b\r\nHost:",
        )
    with connect(hasty) as caller:
        caller.send(opening)
        for _ in range(11):
            time.sleep(0.02)
            caller.send(b"x" * 6000)
        is_refused(caller, 431)


@pytest.mark.parametrize(
    "opening",
    [
        HEALTH + b"\r\n",
        request("GET", "/healthz", [("Content-Length", "100")]) + b"x",
        request("POST", "/v1/unknown", [("Content-Length", "100")]) + b"x",
        request("POST", "/v1/unknown", [("Transfer-Encoding", "chunked")]) + chunked([b"x"], last=b""),
    ],
    ids=["CRLF", "GET", "POST", "chunked"],
)
def test_a_connection_without_a_request_ends(hasty: GatewayProcess, opening: bytes) -> None:
    with connect(hasty) as caller:
        caller.send(opening)
        assert caller.read_response().status in (200, 404)
        time.sleep(0.2)
        caller.send(b"\r\n")
        assert caller.closed(timeout=10)


def test_a_peer_that_does_not_read_is_cut_off(hasty: GatewayProcess) -> None:
    with connect(hasty) as caller:
        caller.send(request("GET", "/openapi.json") * 400)
        time.sleep(4)
        answered = 0
        while caller.read_response("GET").complete:
            answered += 1
        assert 0 < answered < 400


@pytest.mark.parametrize(
    "second",
    [
        head(b"GET http://:x/ HTTP/1.1", b"Host: a"),
        post(("Transfer-Encoding", "chunked")) + b"zz\r\n",
        b"\x00garbage",
    ],
    ids=["URL", "chunk", "garbage"],
)
def test_a_fault_is_not_the_answer_to_the_request_before(hasty: GatewayProcess, second: bytes) -> None:
    with connect(hasty) as caller:
        caller.send(HEALTH + second)
        assert caller.read_response().status == 200
        assert caller.closed()
