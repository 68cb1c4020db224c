"""Limits on size, slowness and load, for one caller and for all of them."""

import contextlib
import resource
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.behaviour.caller import CLIP, begin, connect, error_of, fence, form, post, post_bytes, request_id
from tests.faults.answers import row_of
from tests.faults.test_limits import compressed
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import RawConnection, RawResponse, chunked, multipart, request
from tests.stubs.upstream import ScriptedUpstream, json_answer
from tests.stubs.vitals import vitals, wait_for

OPENING = multipart(form(), closing=False)
CLOSING = chunked([b"--test-boundary--\r\n"])
HEALTH = request("GET", "/healthz")

# -- size --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_gateway(
    shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway whose file limit is exactly the size of the clip."""
    limit = f"[server]\nmax_file_bytes = {len(CLIP)}\ndocs = false"
    with GatewayProcess(tmp_path_factory.mktemp("small"), shared_upstream.base_url, limit) as process:
        yield process


def too_large(answer: RawResponse) -> bool:
    assert f"limit of {len(CLIP)} bytes" in error_of(answer)["message"]
    error = error_of(answer)
    return (answer.status, error["code"], error["param"]) == (413, "request_too_large", "file")


@pytest.mark.parametrize("file_first", [False, True], ids=["model first", "file first"])
@pytest.mark.parametrize("declared", [False, True], ids=["chunked", "Content-Length"])
def test_D64_a_file_of_exactly_the_limit_is_accepted_and_a_larger_one_is_not(
    small_gateway: GatewayProcess, upstream: ScriptedUpstream, declared: bool, file_first: bool
) -> None:
    for extra in (b"", b"x"):
        body = multipart(form(audio=CLIP + extra)[:: -1 if file_first else 1])
        with connect(small_gateway) as caller:
            if declared:
                caller.send(post_bytes(small_gateway, body))
            else:
                begin(small_gateway, caller)
                caller.send(chunked([body]))
            answer = caller.read_response()
        assert too_large(answer) if extra else answer.status == 200
    assert [exchange for exchange in upstream.journal if exchange.complete] == upstream.journal[:1]


def test_D64_the_first_byte_above_the_limit_ends_a_streamed_upload(
    small_gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    opening = multipart(form(), closing=False).removesuffix(b"\r\n")
    with connect(small_gateway) as caller:
        begin(small_gateway, caller)
        caller.send(chunked([opening], last=b""))
        exchange = upstream.wait_for(1)
        caller.send(chunked([b"x" * 40], last=b""))
        head = caller.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413 ")
        upstream.wait_until(lambda: exchange.aborted, timeout=10)
    (row,) = small_gateway.rows("state = 'released' AND error = 'request_too_large'")[-1:]
    assert row["cost_nano_usd"] == 0


@pytest.mark.parametrize("above", [0, 1])
def test_D63_a_declared_size_above_the_limit_is_rejected_before_the_body(
    small_gateway: GatewayProcess, above: int
) -> None:
    """A form may have 1 MiB in addition to its file."""
    length = len(CLIP) + 1024 * 1024 + above
    with connect(small_gateway) as caller:
        headers = [("Content-Length", str(length)), ("Expect", "100-continue")]
        caller.send(post_bytes(small_gateway, b"", headers=headers))
        if above:
            answer = caller.read_response()
            assert too_large(answer)
            assert answer.interim == []
        else:
            assert caller.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"


def test_D63_the_default_limit_is_that_of_openai(gateway: GatewayProcess) -> None:
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, b"", headers=[("Content-Length", str(27 * 1024 * 1024))]))
        answer = caller.read_response()
    assert (answer.status, error_of(answer)["code"]) == (413, "request_too_large")
    assert answer.header("connection") == "close"
    assert "26214400 bytes (25 MiB)" in error_of(answer)["message"]


# -- slowness ----------------------------------------------------------------------------------------------------------


def test_D66_a_silent_connection_is_closed_without_a_response(hasty: GatewayProcess) -> None:
    with connect(hasty) as caller:
        assert caller.closed(timeout=30)


@pytest.mark.parametrize(
    "start", [b"G", b"GET /healthz HTTP/1.1\r\n", HEALTH[:-1]], ids=["a byte", "a line", "nearly all"]
)
def test_D66_an_incomplete_head_gets_408(hasty: GatewayProcess, start: bytes) -> None:
    with connect(hasty) as caller:
        caller.send(start)
        answer = caller.read_response()
        assert (answer.status, error_of(answer)["code"]) == (408, "request_timeout")
        assert caller.closed()


def drip(caller: RawConnection, data: bytes, seconds: float, ended: threading.Event) -> None:
    """Sends one byte at a time with a pause, until the end or until the connection closes."""
    with contextlib.suppress(OSError):
        for at in range(len(data)):
            caller.send(data[at : at + 1])
            if ended.wait(seconds):
                return


@contextlib.contextmanager
def dripping(caller: RawConnection, data: bytes, seconds: float) -> Iterator[None]:
    ended = threading.Event()
    thread = threading.Thread(target=drip, args=(caller, data, seconds, ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_D66_a_dripping_head_gets_no_more_time(hasty: GatewayProcess) -> None:
    head = request("GET", "/healthz", [("X-Padding", "a" * 1000)])
    with connect(hasty) as caller, dripping(caller, head, 0.05):
        answer = caller.read_response()
        assert (answer.status, error_of(answer)["code"]) == (408, "request_timeout")


def test_D66_a_second_dripping_head_gets_no_more_time(hasty: GatewayProcess) -> None:
    head = request("GET", "/healthz", [("X-Padding", "a" * 1000)])
    with connect(hasty) as caller:
        caller.send(HEALTH)
        assert caller.read_response().status == 200
        with dripping(caller, head, 0.05):
            answer = caller.read_response()
        assert (answer.status, error_of(answer)["code"]) == (408, "request_timeout")


@pytest.mark.parametrize("first", [1500, 1_500_000], ids=["slow from the start", "fast at first"])
@pytest.mark.parametrize("file_first", [False, True], ids=["model first", "file first"])
@pytest.mark.parametrize("declared", [False, True], ids=["chunked", "Content-Length"])
def test_D67_M207_a_dripping_body_is_rejected(
    hasty: GatewayProcess, upstream: ScriptedUpstream, declared: bool, file_first: bool, first: int
) -> None:
    """Each byte arrives before the idle timeout, but the rate is below the minimum."""
    opening = multipart(form(None if file_first else "whisper-1", CLIP + bytes(first)), closing=False)[:first]
    with connect(hasty) as caller:
        caller.socket.settimeout(60)
        if declared:
            caller.send(post_bytes(hasty, b"", headers=[("Content-Length", str(first + 1_000_000))]) + opening)
            rest = bytes(1000)
        else:
            begin(hasty, caller)
            caller.send(chunked([opening], last=b""))
            rest = chunked([b"x"] * 1000, last=b"")
        with dripping(caller, rest, 0.1 if declared else 0.02):
            answer = caller.read_response()
    assert (answer.status, error_of(answer)["code"]) == (408, "request_timeout")
    assert answer.header("connection") == "close"
    if file_first:
        assert upstream.journal == []
    else:
        upstream.wait_until(lambda: upstream.journal[0].aborted)
        assert hasty.wait_for_row(request_id(answer), "released")["cost_nano_usd"] == 0


def test_M206_a_live_recording_at_700_bytes_a_second_is_not_cut(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    """Opus at its lowest rate, sent while it is recorded, with the default settings."""
    recording = multipart(form(audio=compressed("I138-opus-at-6-kbit", seconds=18)))
    with connect(gateway) as caller:
        begin(gateway, caller)
        for at in range(0, len(recording), 350):
            caller.send(chunked([recording[at : at + 350]], last=b""))
            threading.Event().wait(0.5)
        caller.send(chunked([]))
        assert caller.read_response().status == 200
    assert upstream.journal[0].complete


def test_D67_a_body_that_stops_is_rejected(hasty: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with connect(hasty) as caller:
        caller.send(post_bytes(hasty, b"", headers=[("Content-Length", "1000000")]) + OPENING)
        answer = caller.read_response()
        assert (answer.status, error_of(answer)["code"]) == (408, "request_timeout")
        assert caller.closed(timeout=30)
    upstream.wait_until(lambda: upstream.journal[0].aborted)
    assert row_of(hasty, answer)["state"] == "released"


def test_D67_a_slow_upstream_does_not_count_against_the_caller(
    shared_upstream: ScriptedUpstream, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """The upstream stops reading for three times the caller's idle timeout."""
    gate = threading.Event()
    upstream.reply(json_answer("late").but(read_gate=gate, after=100_000))
    large = form(audio=CLIP + bytes(25 * 1024 * 1024 - len(CLIP)))
    with (
        GatewayProcess(tmp_path, upstream.base_url, "[timeouts]\nbody_idle = 0.5") as gateway,
        ThreadPoolExecutor(1) as callers,
    ):
        response = callers.submit(lambda: post(gateway, large))
        upstream.wait_until(lambda: upstream.journal and upstream.journal[0].size >= 100_000)
        threading.Event().wait(1.5)
        gate.set()
        answer = response.result(60)
    assert (answer.status, answer.json()) == (200, {"text": "late"})


def test_D67_an_upstream_that_stops_reading_is_disconnected(
    shared_upstream: ScriptedUpstream, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """Its connection is aborted at once: it will never read the rest."""
    gate = threading.Event()
    upstream.reply(json_answer("late").but(read_gate=gate, after=100_000))
    with GatewayProcess(tmp_path, upstream.base_url, "[timeouts]\nwrite_idle = 0.5") as gateway:
        fence(gateway)
        before = vitals(gateway.proc).files
        answer = post(gateway, form(audio=CLIP + bytes(25 * 1024 * 1024 - len(CLIP))))
        assert (answer.status, error_of(answer)["code"]) == (504, "upstream_timeout")
        assert answer.header("x-should-retry") is None
        assert row_of(gateway, answer)["state"] == "released"
        assert wait_for(lambda: vitals(gateway.proc).files <= before), vitals(gateway.proc)
    gate.set()
    upstream.wait_until(lambda: upstream.journal[0].aborted)


# -- load --------------------------------------------------------------------------------------------------------------


def test_D69_idle_connections_are_limited_and_health_still_responds(
    shared_upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    with GatewayProcess(tmp_path, shared_upstream.base_url, "[timeouts]\nhead = 120") as gateway:
        with contextlib.ExitStack() as stack:
            idle = [stack.enter_context(connect(gateway)) for _ in range(2_500)]
            fence(gateway)
            answer = post(gateway, form())
            assert (answer.status, error_of(answer)["code"]) == (503, "overloaded")
            assert (answer.header("retry-after"), answer.header("connection")) == ("1", "close")
            idle[0].send(HEALTH)
            assert idle[0].read_response().status == 200
            idle[-1].send(request("GET", "/v1/models"))
            assert idle[-1].read_response().status == 503
        deadline = threading.Event()
        for _ in range(100):
            if (answer := post(gateway, form())).status == 200:
                break
            deadline.wait(0.2)
        assert answer.status == 200


CEILING = 8


@pytest.fixture(scope="module")
def narrow(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway for eight concurrent requests."""
    settings = f"[server]\nmax_requests = {CEILING}"
    with GatewayProcess(tmp_path_factory.mktemp("narrow"), shared_upstream.base_url, settings) as process:
        yield process


def overloaded(answer: RawResponse) -> bool:
    assert (answer.status, error_of(answer)["code"], error_of(answer)["type"]) == (503, "overloaded", "server_error")
    return (answer.header("retry-after"), answer.header("x-should-retry")) == ("1", None)


def test_D70_uploads_above_the_ceiling_are_rejected(narrow: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with contextlib.ExitStack() as stack:
        uploads = [stack.enter_context(connect(narrow)) for _ in range(CEILING)]
        for caller in uploads:
            begin(narrow, caller)
            caller.send(chunked([OPENING], last=b""))
        upstream.wait_for(CEILING)
        assert overloaded(post(narrow, form()))
        uploads[0].send(CLOSING)
        assert uploads[0].read_response().status == 200
        assert post(narrow, form()).status == 200
        for caller in uploads[1:]:
            caller.send(CLOSING)
        assert {caller.read_response().status for caller in uploads[1:]} == {200}
    assert narrow.rows("state = 'held'") == []


def test_D70_of_many_concurrent_uploads_exactly_the_ceiling_is_accepted(
    narrow: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    gate, barrier = threading.Event(), threading.Barrier(3 * CEILING)
    upstream.default = json_answer("late").but(gate=gate)

    def ask(_: int) -> RawResponse:
        barrier.wait(30)
        return post(narrow, form())

    with ThreadPoolExecutor(3 * CEILING) as callers:
        responses = [callers.submit(ask, number) for number in range(3 * CEILING)]
        upstream.wait_until(lambda: sum(exchange.complete for exchange in upstream.journal) == CEILING)
        while sum(response.done() for response in responses) < 2 * CEILING:
            fence(narrow)
        gate.set()
        answers = [response.result(30) for response in responses]
    refused = [answer for answer in answers if answer.status != 200]
    assert len(refused) == 2 * CEILING
    assert all(map(overloaded, refused))
    assert len(upstream.journal) == CEILING


def resident_kib(gateway: GatewayProcess) -> int:
    """Returns its private resident memory in KiB (proc(5): RssAnon)."""
    lines = (gateway.proc / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


MEGABYTE = bytes(1 << 20)


def send_megabytes(callers: Sequence[RawConnection], count: int) -> None:
    for _ in range(count):
        for caller in callers:
            caller.send(chunked([MEGABYTE], last=b""))


def test_D71_the_memory_of_an_upload_does_not_grow_from_1_mb_to_200_mb(tmp_path: Path) -> None:
    """Fifty uploads reach 1 MB; then they continue, one of them to 200 MB."""
    settings = "[server]\nmax_file_bytes = 300_000_000"
    with (
        ScriptedUpstream(keep_bodies=False) as upstream,
        GatewayProcess(tmp_path, upstream.base_url, settings) as gateway,
    ):
        assert post(gateway, form()).status == 200
        base = resident_kib(gateway)
        with contextlib.ExitStack() as stack:
            uploads = [stack.enter_context(connect(gateway)) for _ in range(50)]
            for caller in uploads:
                caller.socket.settimeout(60)
                begin(gateway, caller)
                caller.send(chunked([OPENING], last=b""))
            send_megabytes(uploads, 1)
            upstream.wait_until(lambda: all(exchange.size > 1 << 20 for exchange in upstream.journal[1:51]), timeout=60)
            fence(gateway)
            small = resident_kib(gateway)
            send_megabytes(uploads, 4)
            send_megabytes(uploads[:1], 195)
            upstream.wait_until(lambda: max(exchange.size for exchange in upstream.journal) > 200 << 20, timeout=60)
            fence(gateway)
            large = resident_kib(gateway)
    assert (small - base) / 50 < 1024
    assert large - small < 50 * 1024  # 400 MB have passed
