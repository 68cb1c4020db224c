"""One connection of the scripted upstream: HTTP/1.1 by hand, because frameworks prevent faults."""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from threading import Event
from typing import Protocol, cast

from tests.stubs.exchange import Exchange
from tests.stubs.reply import Reply
from tests.stubs.upload import READ_SIZE, Gone, Malformed, Upload

Answer = Callable[[Exchange], Reply]
Script = Reply | Answer

_REQUEST_LINE = re.compile(r"([A-Z]+) (\S+) HTTP/1\.1")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+): *([^\x00-\x1f\x7f]*)")
_RESET = struct.pack("ii", 1, 0)


class ConnectionOwner(Protocol):
    """What a connection needs from its scripted upstream."""

    failures: list[Exception]

    def connected(self, transport: asyncio.BaseTransport) -> int: ...
    def disconnected(self, number: int) -> None: ...
    def add_exchange(self, connection: int, method: str, path: str, headers: list[tuple[str, str]]) -> Exchange: ...
    def next_script(self) -> Script: ...
    async def pass_gate(self, gate: Event) -> None: ...


def _is_established(port: int, peer_port: int) -> bool:
    """Returns whether the socket at 127.0.0.1:port is still connected to that peer (proc(5), /proc/net/tcp; 01 is
    ESTABLISHED). Nothing else shows that a caller has left while its bytes are unread: its FIN waits behind them.
    """
    ends = f" 0100007F:{port:04X} 0100007F:{peer_port:04X} 01 "
    return ends in Path("/proc/net/tcp").read_text()


class Connection:
    """Reads requests and plays their scripts until either side ends the connection."""

    def __init__(
        self,
        number: int,
        owner: ConnectionOwner,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        gone: asyncio.Event,
    ) -> None:
        self._number = number
        self._owner = owner
        self._reader = reader
        self._writer = writer
        self._gone = gone
        self._transport = cast(asyncio.Transport, writer.transport)
        # asyncio leaves Nagle's algorithm on for sockets from a listener that it has not created.
        self._socket = cast(socket.socket, self._transport.get_extra_info("socket"))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # drain() then waits until the kernel has all bytes, so that a reset cannot overtake the response. Over TLS it
        # would never end: asyncio pauses there at the limit itself.
        if self._transport.get_extra_info("sslcontext") is None:
            self._transport.set_write_buffer_limits(high=0)

    async def serve(self) -> None:
        """Serves until the connection ends. Raises Malformed for a head that is not HTTP/1.1."""
        with contextlib.suppress(Gone, OSError):
            while (exchange := await self._read_head()) is not None:
                try:
                    await self._play(exchange)
                except Malformed:  # exchange.fault has the reason
                    return
                finally:
                    exchange.finish(aborted=True)

    async def _read_head(self) -> Exchange | None:
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise Malformed(f"the connection ended inside a head: {error.partial[:200]!r}") from error
            return None
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        request, headers = _REQUEST_LINE.fullmatch(first), [_HEADER.fullmatch(line) for line in lines]
        if request is None or None in headers:
            raise Malformed(f"not a request head: {head[:400]!r}")
        pairs = [(header[1], header[2]) for header in headers if header]
        return self._owner.add_exchange(self._number, request[1], request[2], pairs)

    async def _play(self, exchange: Exchange) -> None:
        upload, script = Upload(self._reader, exchange), self._owner.next_script()
        if not isinstance(script, Reply) or script.when == "after_body":
            self._continue(exchange)
            if isinstance(script, Reply) and script.read_gate is not None:
                await upload.read(script.after)
                await self._unless_gone(self._owner.pass_gate(script.read_gate))
            await upload.read()
            reply = script if isinstance(script, Reply) else script(exchange)
            await self._answer(exchange, reply)
        else:
            reply = script
            await self._play_early(exchange, upload, reply)
        if reply.closes != "never" or (exchange.header("connection") or "").lower() == "close":
            raise Gone

    async def _play_early(self, exchange: Exchange, upload: Upload, reply: Reply) -> None:
        if reply.when == "after_bytes":
            self._continue(exchange)
            await upload.read(reply.after)
        if reply.then == "read_on":
            await asyncio.gather(upload.read(), self._answer(exchange, reply))
            return
        await self._answer(exchange, reply)
        if reply.then == "hold":
            await self._hold()
        raise Gone

    def _continue(self, exchange: Exchange) -> None:
        if (exchange.header("expect") or "").lower() == "100-continue":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _answer(self, exchange: Exchange, reply: Reply) -> None:
        if reply.hang:
            await self._gone.wait()
            raise Gone
        for gate, delay, data in reply.steps():
            if gate is not None:
                await self._unless_gone(self._owner.pass_gate(gate))
            if delay:
                await self._unless_gone(asyncio.sleep(delay))
            self._writer.write(data)
            await self._writer.drain()
        if reply.cut_after is not None:
            self._end(reset=reply.cut == "reset")
            raise Gone
        exchange.answered()

    async def _unless_gone(self, waiting: Awaitable[None]) -> None:
        waits = [asyncio.ensure_future(waiting), asyncio.ensure_future(self._gone.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self._gone.is_set():
            raise Gone

    async def _hold(self) -> None:
        ports = self._socket.getpeername()[1], self._socket.getsockname()[1]
        self._transport.pause_reading()
        while not self._gone.is_set() and _is_established(*ports):
            await asyncio.sleep(0.02)

    def _end(self, reset: bool) -> None:
        if reset:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()
        else:
            self._writer.close()


class Peer(asyncio.StreamReaderProtocol):
    """Notices at once that the other side has left, even while nothing reads."""

    def __init__(self, owner: ConnectionOwner, loop: asyncio.AbstractEventLoop) -> None:
        self.gone = asyncio.Event()
        self._owner = owner
        super().__init__(asyncio.StreamReader(READ_SIZE, loop), self._serve, loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._number = self._owner.connected(transport)
        super().connection_made(transport)

    def eof_received(self) -> bool | None:
        self.gone.set()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        super().connection_lost(exc)
        self._owner.disconnected(self._number)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await Connection(self._number, self._owner, reader, writer, self.gone).serve()
        except Exception as error:
            self._owner.failures.append(error)
        finally:
            writer.close()
