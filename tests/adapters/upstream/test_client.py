"""The provider's connection over real sockets: when one is used again, when a new one is opened, what goes out."""

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

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
KEY = SecretStr("sk-0123456789")
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def upstream(url: str, **more: str) -> Upstream:
    return Upstream.model_validate({"name": "x", "base_url": url, "api_key_env": "X", **more})


class Server:
    """Takes every form and gives each the next answer; what came is in `forms`, a list for each connection."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.forms: list[list[bytes]] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.provider = HttpUpstreamClient(upstream(f"http://127.0.0.1:{port}/v1"), KEY, TimeoutSettings())
        await self.provider.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.provider.close()
        self._server.close()

    async def told(self, body: AsyncGenerator[bytes, None]) -> bytes:
        async with aclosing(self.provider.post("transcribe", "text/plain", body, None)) as post:
            response = await post.response()
            return b"".join([chunk async for chunk in response.body()])

    async def early(self, answer: bytes, post: HttpUpstreamCall, begun: asyncio.Event) -> None:
        """This answer while the form is on its way, its head read. `begun`: the form's first bytes have gone out."""
        head = asyncio.create_task(post.response())
        await begun.wait()
        while not self.writers:
            await asyncio.sleep(0)
        self.writers[0].write(answer)
        await head

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        forms: list[bytes] = []
        self.forms.append(forms)
        self.writers.append(writer)
        while True:
            try:
                form = await reader.readuntil(b"end\r\n0\r\n\r\n")
            except (asyncio.IncompleteReadError, OSError):
                writer.close()
                return
            forms.append(form)
            writer.write(self.answers.pop(0))


async def form(*pieces: bytes) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        yield piece
    yield b"end"


def run(scene: Callable[[Server], Awaitable[None]], *answers: bytes) -> None:
    """The scene on both kinds of loop."""

    async def played() -> None:
        async with Server(*answers) as server:
            await scene(server)

    for loop in LOOPS:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(asyncio.wait_for(played(), 30))


def test_what_goes_out() -> None:
    async def scene(server: Server) -> None:
        assert await server.told(form(b"a", b"", b"b" * 17)) == b"hi"
        port = server.writers[0].get_extra_info("sockname")[1]
        head, _, body = server.forms[0][0].partition(b"\r\n\r\n")
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

    run(scene, ANSWER)


def test_one_connection_serves_one_form_after_the_other() -> None:
    async def scene(server: Server) -> None:
        assert [await server.told(form()) for _ in range(3)] == [b"hi"] * 3
        assert [len(forms) for forms in server.forms] == [3]

    run(scene, *[ANSWER] * 3)


@pytest.mark.parametrize("extra", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
def test_a_connection_that_ends_before_a_byte_was_sent_is_replaced(extra: bytes) -> None:
    """The provider ends it between the taking of it and the form's first bytes."""

    async def late(server: Server) -> AsyncGenerator[bytes, None]:
        server.writers[0].write(extra)
        server.writers[0].close()
        await server.writers[0].wait_closed()
        yield b"end"

    async def scene(server: Server) -> None:
        assert await server.told(form()) == b"hi"
        assert await server.told(late(server)) == b"hi"
        assert [len(forms) for forms in server.forms] == [1, 1]

    run(scene, *[ANSWER] * 2)


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        ANSWER.replace(b"1.1", b"1.0"),
        ANSWER.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked").replace(b"hi", b"2\r\nhi\r\n0\r\n\r\n")[:-2]
        + b"Connection: close\r\n\r\n",
    ],
    ids=["close", "HTTP/1.0", "close in a trailer"],
)
def test_a_connection_that_is_to_be_closed_is_not_used_again(answer: bytes) -> None:
    async def scene(server: Server) -> None:
        assert [await server.told(form()) for _ in range(2)] == [b"hi"] * 2
        assert [len(forms) for forms in server.forms] == [1, 1]

    run(scene, answer, ANSWER)


def test_a_connection_at_rest_ends_after_a_while() -> None:
    async def scene(server: Server) -> None:
        assert await server.told(form()) == b"hi"
        await server.writers[0].wait_closed()

    run(scene, ANSWER)


def test_an_answer_that_nobody_reads_is_not_taken_in() -> None:
    size = 64 << 20

    async def scene(server: Server) -> None:
        async with aclosing(server.provider.post("transcribe", "text/plain", form(), None)) as post:
            response = await post.response()
            sent = asyncio.create_task(server.writers[0].drain())
            done, _ = await asyncio.wait((sent,), timeout=0.5)
            assert not done
            assert sum([len(chunk) async for chunk in response.body()]) == size
            await sent

    run(scene, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))


def test_a_body_that_fails_breaks_the_form_off_and_its_error_stays_what_it_is() -> None:
    """It is a fault of ours, to be logged with its traceback, and no failure of the provider's."""

    async def failing() -> AsyncGenerator[bytes, None]:
        yield b"a"
        raise RuntimeError("a fault of ours")

    async def scene(server: Server) -> None:
        with pytest.raises(RuntimeError, match="a fault of ours") as raised:
            await server.told(failing())
        assert "failing" in [frame.name for frame in raised.traceback]
        await server.writers[0].wait_closed()
        assert server.forms == [[]]

    run(scene)


def test_a_body_that_fails_behind_an_early_answer_keeps_its_error_too() -> None:
    async def failing(begun: asyncio.Event, answered: asyncio.Event) -> AsyncGenerator[bytes, None]:
        yield b"a"
        begun.set()
        await answered.wait()
        raise RuntimeError("a fault of ours")

    async def scene(server: Server) -> None:
        begun, answered = asyncio.Event(), asyncio.Event()
        async with aclosing(server.provider.post("transcribe", "text/plain", failing(begun, answered), None)) as post:
            await server.early(ANSWER, post, begun)
            answered.set()
            with pytest.raises(RuntimeError, match="a fault of ours"):
                await post.sent()

    run(scene)


@pytest.mark.parametrize("answer", [ANSWER, ANSWER[:-1]], ids=["whole", "begun"])
@pytest.mark.parametrize("waits", [True, False], ids=["for the caller", "for the provider"])
def test_the_body_is_closed_when_the_connection_is_reset_behind_an_early_answer(answer: bytes, waits: bool) -> None:
    """Whether the next bytes are the caller's to send or the provider's to take."""

    async def endless(begun: asyncio.Event, closed: asyncio.Event) -> AsyncGenerator[bytes, None]:
        try:
            yield b"a"
            begun.set()
            if waits:
                await asyncio.Event().wait()
            while True:
                yield bytes(100_000)
        finally:
            closed.set()

    async def scene(server: Server) -> None:
        begun, closed = asyncio.Event(), asyncio.Event()
        async with aclosing(server.provider.post("transcribe", "text/plain", endless(begun, closed), None)) as post:
            await server.early(answer, post, begun)
            server.writers[0].transport.abort()
            await post.sent()
        assert closed.is_set()

    run(scene)


@pytest.mark.parametrize("in_order", [True, False], ids=["close_notify", "a bare end"])
def test_the_end_of_tls_ends_an_answer_only_with_its_close_notify(tmp_path: Path, in_order: bool) -> None:
    """Without it anybody on the way may have cut the answer."""
    pem = certificate(tmp_path)

    def serve(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with serving(pem).wrap_socket(peer, server_side=True) as tls:
            came = b""
            while not came.endswith(b"end\r\n0\r\n\r\n"):
                came += tls.recv(65536)
            tls.sendall(b"HTTP/1.1 200 OK\r\n\r\nhel")
            if in_order:
                with suppress(OSError):
                    tls.unwrap()

    async def asked(port: int) -> bytes:
        settings = upstream(f"https://127.0.0.1:{port}/v1", ca_file=str(pem))
        provider = HttpUpstreamClient(settings, KEY, TimeoutSettings())
        await provider.open()
        async with aclosing(provider.post("transcribe", "text/plain", form(), None)) as post:
            response = await post.response()
            return b"".join([chunk async for chunk in response.body()])

    for loop in LOOPS:
        with closing(socket.create_server(("127.0.0.1", 0))) as listener, asyncio.Runner(loop_factory=loop) as runner:
            server = Thread(target=serve, args=(listener,))
            server.start()
            answer = asyncio.wait_for(asked(listener.getsockname()[1]), 30)
            if in_order:
                assert runner.run(answer) == b"hel"
            else:
                with pytest.raises(ConnectionLost):
                    runner.run(answer)
            server.join(30)


def test_who_leaves_is_out_of_the_body_at_once() -> None:
    """Cancelled while the body waits: when the context has been left, the body can be closed."""

    async def scene(server: Server) -> None:
        waits = asyncio.Event()

        async def stalling() -> AsyncGenerator[bytes, None]:
            yield b"a"
            waits.set()
            await asyncio.Event().wait()

        body = stalling()
        asked = asyncio.create_task(server.told(body))
        await waits.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
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
def test_the_host_as_it_is_named(url: str, host: str) -> None:
    assert Origin.of(upstream(url)).authority == host


def test_a_name_that_dns_cannot_carry_stops_the_start() -> None:
    with pytest.raises(InvalidConfig, match=r"upstreams\.x: base_url: "):
        HttpUpstreamClient(upstream("http://\u00fc..x/v1"), KEY, TimeoutSettings())
