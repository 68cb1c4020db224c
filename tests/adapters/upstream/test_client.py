"""The upstream client over real sockets: when it reuses a connection, when it opens one, and what it sends."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, closing, suppress
from pathlib import Path
from threading import Thread
from typing import Self

import pytest
import uvloop
from pydantic import SecretStr

from app.adapters.upstream import HttpUpstreamClient
from app.adapters.upstream.call import HttpUpstreamCall
from app.adapters.upstream.origin import Origin
from app.config import InvalidConfig, TimeoutSettings, Upstream
from app.gateway.ports import ConnectionLost
from tests.stubs.certificate import certificate, serving

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
KEY = SecretStr("sk-0123456789")
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def upstream(url: str, **more: str) -> Upstream:
    return Upstream.model_validate({"name": "x", "base_url": url, "api_key_env": "X", **more})


class Server:
    """Sends the next response to each request. `requests` has the bytes of the requests, a list for each connection."""

    def __init__(self, *responses: bytes) -> None:
        self.responses = list(responses)
        self.requests: list[list[bytes]] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.client = HttpUpstreamClient(upstream(f"http://127.0.0.1:{port}/v1"), KEY, TimeoutSettings())
        await self.client.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        self._server.close()

    async def response_to(self, body: AsyncGenerator[bytes, None]) -> bytes:
        async with aclosing(self.client.post("transcribe", "text/plain", body, None)) as call:
            response = await call.response()
            return b"".join([chunk async for chunk in response.body()])

    async def respond_early(self, response: bytes, call: HttpUpstreamCall, started: asyncio.Event) -> None:
        """Sends the response as soon as `started` is set, that is while the request is being sent."""
        reading = asyncio.create_task(call.response())
        await started.wait()
        while not self.writers:
            await asyncio.sleep(0)
        self.writers[0].write(response)
        await reading

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests: list[bytes] = []
        self.requests.append(requests)
        self.writers.append(writer)
        while True:
            try:
                request = await reader.readuntil(b"end\r\n0\r\n\r\n")
            except (asyncio.IncompleteReadError, OSError):
                writer.close()
                return
            requests.append(request)
            writer.write(self.responses.pop(0))


async def body_of(*chunks: bytes) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk
    yield b"end"


def run(scene: Callable[[Server], Awaitable[None]], *responses: bytes) -> None:
    """Runs the scene on both kinds of event loop."""

    async def with_server() -> None:
        async with Server(*responses) as server:
            await scene(server)

    for loop in LOOPS:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(asyncio.wait_for(with_server(), 30))


def test_the_bytes_of_a_request() -> None:
    async def scene(server: Server) -> None:
        assert await server.response_to(body_of(b"a", b"", b"b" * 17)) == b"hi"
        port = server.writers[0].get_extra_info("sockname")[1]
        head, _, body = server.requests[0][0].partition(b"\r\n\r\n")
        assert head.decode().split("\r\n") == [
            "POST /v1/audio/transcriptions HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Authorization: Bearer sk-0123456789",
            "Accept: */*",
            "Accept-Encoding: identity",
            "User-Agent: audio-gateway/0.1.0",
            "Content-Type: text/plain",
            "Transfer-Encoding: chunked",
        ]
        assert body == b"1\r\na\r\n11\r\n" + b"b" * 17 + b"\r\n3\r\nend\r\n0\r\n\r\n"

    run(scene, RESPONSE)


def test_a_connection_is_reused() -> None:
    async def scene(server: Server) -> None:
        assert [await server.response_to(body_of()) for _ in range(3)] == [b"hi"] * 3
        assert [len(requests) for requests in server.requests] == [3]

    run(scene, *[RESPONSE] * 3)


@pytest.mark.parametrize("extra", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
def test_an_idle_connection_that_the_upstream_closes_is_replaced(extra: bytes) -> None:
    """The upstream closes it after the call has acquired it, before the first byte is sent."""

    async def body_after_close(server: Server) -> AsyncGenerator[bytes, None]:
        server.writers[0].write(extra)
        server.writers[0].close()
        await server.writers[0].wait_closed()
        yield b"end"

    async def scene(server: Server) -> None:
        assert await server.response_to(body_of()) == b"hi"
        assert await server.response_to(body_after_close(server)) == b"hi"
        assert [len(requests) for requests in server.requests] == [1, 1]

    run(scene, *[RESPONSE] * 2)


@pytest.mark.parametrize(
    "response",
    [
        RESPONSE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        RESPONSE.replace(b"1.1", b"1.0"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nConnection: close\r\n\r\n",
    ],
    ids=["close", "HTTP/1.0", "close in a trailer"],
)
def test_a_connection_with_close_or_of_http_1_0_is_not_reused(response: bytes) -> None:
    async def scene(server: Server) -> None:
        assert [await server.response_to(body_of()) for _ in range(2)] == [b"hi"] * 2
        assert [len(requests) for requests in server.requests] == [1, 1]

    run(scene, response, RESPONSE)


def test_an_idle_connection_is_closed_after_the_keep_alive_time() -> None:
    async def scene(server: Server) -> None:
        assert await server.response_to(body_of()) == b"hi"
        await server.writers[0].wait_closed()

    run(scene, RESPONSE)


def test_an_unread_response_stops_reading_from_the_socket() -> None:
    size = 64 << 20

    async def scene(server: Server) -> None:
        async with aclosing(server.client.post("transcribe", "text/plain", body_of(), None)) as call:
            response = await call.response()
            sent = asyncio.create_task(server.writers[0].drain())
            done, _ = await asyncio.wait((sent,), timeout=0.5)
            assert not done
            assert sum([len(chunk) async for chunk in response.body()]) == size
            await sent

    run(scene, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))


def test_an_error_of_the_body_aborts_the_request_and_is_raised_as_it_is() -> None:
    """It is a bug of the gateway, to be logged with its traceback, and not a failure of the upstream."""

    async def failing() -> AsyncGenerator[bytes, None]:
        yield b"a"
        raise RuntimeError("a bug")

    async def scene(server: Server) -> None:
        with pytest.raises(RuntimeError, match="a bug") as raised:
            await server.response_to(failing())
        assert "failing" in [frame.name for frame in raised.traceback]
        await server.writers[0].wait_closed()
        assert server.requests == [[]]

    run(scene)


def test_an_error_of_the_body_after_an_early_response_is_raised_as_it_is() -> None:
    async def failing(started: asyncio.Event, answered: asyncio.Event) -> AsyncGenerator[bytes, None]:
        yield b"a"
        started.set()
        await answered.wait()
        raise RuntimeError("a bug")

    async def scene(server: Server) -> None:
        started, answered = asyncio.Event(), asyncio.Event()
        async with aclosing(server.client.post("transcribe", "text/plain", failing(started, answered), None)) as call:
            await server.respond_early(RESPONSE, call, started)
            answered.set()
            with pytest.raises(RuntimeError, match="a bug"):
                await call.sent()

    run(scene)


@pytest.mark.parametrize("response", [RESPONSE, RESPONSE[:-1]], ids=["complete", "incomplete"])
@pytest.mark.parametrize("waits", [True, False], ids=["for the caller", "for the upstream"])
def test_the_body_is_closed_when_the_connection_is_reset_after_an_early_response(response: bytes, waits: bool) -> None:
    """The call then waits either for the caller's next bytes or for the upstream to read."""

    async def endless(started: asyncio.Event, closed: asyncio.Event) -> AsyncGenerator[bytes, None]:
        try:
            yield b"a"
            started.set()
            if waits:
                await asyncio.Event().wait()
            while True:
                yield bytes(100_000)
        finally:
            closed.set()

    async def scene(server: Server) -> None:
        started, closed = asyncio.Event(), asyncio.Event()
        async with aclosing(server.client.post("transcribe", "text/plain", endless(started, closed), None)) as call:
            await server.respond_early(response, call, started)
            server.writers[0].transport.abort()
            await call.sent()
        assert closed.is_set()

    run(scene)


@pytest.mark.parametrize("in_order", [True, False], ids=["close_notify", "a bare end"])
def test_the_end_of_a_tls_connection_completes_a_response_only_with_close_notify(
    tmp_path: Path, in_order: bool
) -> None:
    """Without it an attacker on the network may have truncated the response."""
    pem = certificate(tmp_path)

    def serve(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with serving(pem).wrap_socket(peer, server_side=True) as tls:
            received = b""
            while not received.endswith(b"end\r\n0\r\n\r\n"):
                received += tls.recv(65536)
            tls.sendall(b"HTTP/1.1 200 OK\r\n\r\nhel")
            if in_order:
                with suppress(OSError):
                    tls.unwrap()

    async def response_from(port: int) -> bytes:
        settings = upstream(f"https://127.0.0.1:{port}/v1", ca_file=str(pem))
        client = HttpUpstreamClient(settings, KEY, TimeoutSettings())
        await client.open()
        async with aclosing(client.post("transcribe", "text/plain", body_of(), None)) as call:
            response = await call.response()
            return b"".join([chunk async for chunk in response.body()])

    for loop in LOOPS:
        with closing(socket.create_server(("127.0.0.1", 0))) as listener, asyncio.Runner(loop_factory=loop) as runner:
            server = Thread(target=serve, args=(listener,))
            server.start()
            response = asyncio.wait_for(response_from(listener.getsockname()[1]), 30)
            if in_order:
                assert runner.run(response) == b"hel"
            else:
                with pytest.raises(ConnectionLost):
                    runner.run(response)
            server.join(30)


def test_a_cancelled_call_no_longer_runs_inside_the_body() -> None:
    """After the cancellation of a call whose body waits, the body can be closed."""

    async def scene(server: Server) -> None:
        waiting = asyncio.Event()

        async def stalling() -> AsyncGenerator[bytes, None]:
            yield b"a"
            waiting.set()
            await asyncio.Event().wait()

        body = stalling()
        task = asyncio.create_task(server.response_to(body))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await anext(body, None) is None
        await server.writers[0].wait_closed()

    run(scene)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://Speech.Example/v1", "speech.example"),
        ("https://speech.example:443/v1", "speech.example"),
        ("https://speech.example:80/v1", "speech.example:80"),
        ("http://[::1]:8080/v1", "[::1]:8080"),
        ("http://b\u00fccher.example/v1", "xn--bcher-kva.example"),
    ],
)
def test_the_host_header(url: str, host: str) -> None:
    assert Origin.of(upstream(url)).authority == host


def test_a_host_name_that_dns_cannot_carry_is_an_invalid_config() -> None:
    with pytest.raises(InvalidConfig, match=r"upstreams\.x: base_url: "):
        HttpUpstreamClient(upstream("http://\u00fc..x/v1"), KEY, TimeoutSettings())
