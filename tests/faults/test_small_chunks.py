"""L: bodies that cost the gateway far more than their sender, and pipelined requests."""

import threading
import time
from collections.abc import Callable

import pytest

from app.wire.framing import BYTES_PER_CHUNK, FREE_CHUNKS
from tests.behaviour.caller import CLIP, begin, connect, error_of, fence, form, post_bytes, request_id
from tests.faults.heads import HEALTH
from tests.faults.outcomes import refused_and_closed
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import Headers, RawConnection, RawResponse, chunked, multipart, request
from tests.stubs.upstream import ScriptedUpstream

CHUNKS = ("Transfer-Encoding", "chunked")
WHOLE = multipart(form())
TINY = chunked([b"x"] * 50_000, last=b"")
NO_BODY_TO_TAKE: dict[str, tuple[str, str]] = {
    "GET": ("GET", "/healthz"),
    "HEAD": ("HEAD", "/healthz"),
    "DELETE": ("DELETE", "/v1/models"),
    "unknown": ("POST", "/v1/unknown"),
    "refused": ("POST", "/v1/audio/transcriptions"),
}


def split(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def send_until_closed(caller: RawConnection, data: bytes, times: int) -> None:
    """Sends until the other side has closed."""
    try:
        for _ in range(times):
            caller.send(data)
    except ConnectionError:
        return


def test_L196_a_body_of_one_byte_chunks_is_rejected(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([multipart(form(), closing=False)], last=b""))
        exchange = upstream.wait_for(1)
        send_until_closed(caller, TINY, 2)
        answer = refused_and_closed(caller, 400, "bad_request")
        assert f"at least {BYTES_PER_CHUNK} bytes in a chunk" in error_of(answer)["message"]
    upstream.wait_until(lambda: exchange.aborted)
    assert gateway.wait_for_row(request_id(answer), "released")["cost_nano_usd"] == 0


@pytest.mark.parametrize(("method", "path"), NO_BODY_TO_TAKE.values(), ids=NO_BODY_TO_TAKE.keys())
@pytest.mark.parametrize("at_once", [True, False], ids=["with-the-head", "after-the-answer"])
def test_L196_an_unread_body_of_small_chunks_is_rejected_as_soon(
    gateway: GatewayProcess, method: str, path: str, at_once: bool
) -> None:
    with connect(gateway) as caller:
        caller.send(request(method, path, [CHUNKS]) + (TINY if at_once else b""))
        if not at_once:
            fence(gateway)
            send_until_closed(caller, TINY, 1)
        answer = caller.read_response(method)
        assert answer.status in (200, 400, 401, 404, 405, 429)
        assert caller.closed(20)


@pytest.mark.parametrize("size", [BYTES_PER_CHUNK, 14, 700])
def test_L196_small_chunks_of_real_clients_are_accepted(
    gateway: GatewayProcess, upstream: ScriptedUpstream, size: int
) -> None:
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, chunked(split(WHOLE, size)), headers=[CHUNKS]))
        assert caller.read_response().status == 200
    assert upstream.journal[0].file.data == CLIP


def test_L196_a_small_form_may_arrive_byte_by_byte(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    small = multipart(form(audio=CLIP[:1000]))
    assert len(small) < FREE_CHUNKS
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, chunked(split(small, 1)), headers=[CHUNKS]))
        assert caller.read_response().status == 200
    assert upstream.journal[0].file.data == CLIP[:1000]


def test_L196_a_body_with_a_length_may_arrive_in_any_pieces(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, b"", headers=[("Content-Length", str(len(WHOLE)))]))
        for piece in split(WHOLE, 2):
            caller.send(piece)
        assert caller.read_response().status == 200
    assert upstream.journal[0].file.data == CLIP


@pytest.mark.parametrize("headers", [[CHUNKS], [("Content-Length", str(1 << 40))]], ids=["chunked", "Content-Length"])
@pytest.mark.parametrize(("method", "path"), NO_BODY_TO_TAKE.values(), ids=NO_BODY_TO_TAKE.keys())
def test_L197_an_unread_body_is_limited(gateway: GatewayProcess, method: str, path: str, headers: Headers) -> None:
    """Its sender reads the response, then the end of the connection. Further bytes are only read."""
    piece = bytes(1 << 20)
    with connect(gateway) as caller:
        caller.send(request(method, path, headers))
        answer = caller.read_response(method)
        assert answer.status in (200, 401, 404, 405, 429)
        send_until_closed(caller, chunked([piece], last=b"") if headers == [CHUNKS] else piece, 3)
        assert caller.closed(30)


def longest_wait(gateway: GatewayProcess, attack: Callable[[threading.Event], None], attackers: int = 4) -> float:
    """Returns the longest of 200 response times on another connection during the attack, in seconds."""
    ended = threading.Event()
    threads = [threading.Thread(target=attack, args=(ended,)) for _ in range(attackers)]
    for thread in threads:
        thread.start()
    longest = 0.0
    try:
        with connect(gateway) as caller:
            for _ in range(200):
                began = time.monotonic()
                caller.send(HEALTH)
                assert caller.read_response().status == 200
                longest = max(longest, time.monotonic() - began)
    finally:
        ended.set()
        for thread in threads:
            thread.join(60)
    return longest


@pytest.mark.parametrize(("method", "path"), NO_BODY_TO_TAKE.values(), ids=NO_BODY_TO_TAKE.keys())
def test_L196_one_byte_chunks_do_not_delay_other_callers(gateway: GatewayProcess, method: str, path: str) -> None:
    """Each attacker reconnects as soon as it is rejected."""

    def attack(ended: threading.Event) -> None:
        while not ended.is_set():
            with connect(gateway) as caller:
                send_until_closed(caller, request(method, path, [CHUNKS]) + TINY, 1)
                caller.read_response(method)

    assert longest_wait(gateway, attack) < 1


def test_L198_pipelined_requests_do_not_delay_other_callers(gateway: GatewayProcess) -> None:
    """One segment has thousands of them, and their sender reads no response."""
    burst = b"GET /v1/unknown HTTP/1.1\r\nHost: a\r\n\r\n" * 7_000

    def attack(ended: threading.Event) -> None:
        with connect(gateway) as caller:
            caller.send(burst)
            ended.wait(60)

    assert longest_wait(gateway, attack, 2) < 1


@pytest.mark.parametrize("count", [1, 100, 3_000])
def test_L198_pipelined_requests_get_responses_in_order(gateway: GatewayProcess, count: int) -> None:
    """For any number in one segment, and with any bytes after them."""
    with connect(gateway) as caller:
        caller.socket.settimeout(60)
        caller.send(request("GET", "/healthz") * count)
        caller.send(request("GET", "/v1/unknown"))
        answers = [caller.read_response() for _ in range(count + 1)]
        assert [answer.status for answer in answers] == [200] * count + [404]
        caller.send(HEALTH)
        assert caller.read_response().status == 200


def test_L198_requests_after_an_upload_get_responses_in_order(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    """They arrive together with its end."""
    with connect(gateway) as caller:
        data = post_bytes(gateway, WHOLE)
        caller.send(data[:-5_000])
        fence(gateway)
        caller.send(data[-5_000:] + (HEALTH + post_bytes(gateway, WHOLE)) * 20)
        answers = [caller.read_response() for _ in range(41)]
    assert [answer.status for answer in answers] == [200] * 41
    assert len(upstream.journal) == 21


def test_L198_too_many_requests_after_a_chunked_body_end_the_connection(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    """Only the parser knows where a chunked body ends: some get their response in order, then the connection ends."""
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([WHOLE], last=b""))
        upstream.wait_for(1)
        caller.send(b"0\r\n\r\n" + HEALTH * 1_000)
        answers: list[RawResponse] = []
        while (answer := caller.read_response()).complete:
            answers.append(answer)
    assert {answer.status for answer in answers} == {200}
    assert 2 <= len(answers) <= 1_001
    assert answers[0].json() == {"text": "hello"}
