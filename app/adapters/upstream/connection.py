"""One connection to the upstream: an asyncio protocol with flow control in both directions, one response at a time.

idle      Bytes that arrive on an idle connection would count as the next request's response, so they end it.
reset     An upstream that responds early may close with our bytes unread. Its kernel then sends a reset, and our next
          write fails. The response that came before is still in our socket, and is read (impossible under TLS).
ending    A connection is always aborted: an orderly close would wait until the upstream has read what is unsent.
"""

import asyncio
import os
import select
import ssl
from collections.abc import Callable, Iterable
from typing import Any, cast

from app.adapters.upstream.response import ResponseParser
from app.gateway.ports import ConnectionLost

READ_BUFFER_BYTES = 256 * 1024


class Connection(asyncio.Protocol):
    """`on_closed` is called once, when the connection has ended for whatever reason."""

    def __init__(self, on_closed: Callable[["Connection"], None]) -> None:
        self._on_closed = on_closed
        self._response: ResponseParser | None = None
        self._drained: asyncio.Future[None] | None = None
        self._closed: asyncio.Future[None] | None = None
        self._open, self._was_idle = True, False
        self._readable = select.poll()

    # -- for the call

    @property
    def is_usable(self) -> bool:
        """Whether the connection is open. After an idle time this asks the kernel, too: a close may lie unread."""
        return self._open and not (self._was_idle and self._readable.poll(0))

    @property
    def is_flushed(self) -> bool:
        """Whether the connection is open and the kernel has taken all that was written."""
        return self._open and not self._transport.get_write_buffer_size()

    def expect(self, response: ResponseParser) -> None:
        """Feeds all bytes from now on to this parser."""
        self._response = response

    def closed(self) -> "asyncio.Future[None]":
        """Returns a future that is done when the connection has ended."""
        self._closed = asyncio.get_running_loop().create_future()
        if not self._open:
            self._closed.set_result(None)
        return self._closed

    async def write(self, chunks: Iterable[bytes]) -> None:
        """Writes these bytes and waits until more may be written. Raises ConnectionLost if the connection has ended."""
        if not self._open:
            raise ConnectionLost("closed")
        self._transport.writelines(chunks)
        if self._drained is not None:
            await self._drained

    def set_idle(self) -> None:
        """Detaches the response, which is complete."""
        self._response, self._was_idle = None, True

    def abort(self) -> None:
        self._open = False
        self._transport.abort()

    # -- for asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._readable.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None or response.is_finished:
            self.abort()
            return
        response.feed(data)
        if response.buffered_bytes > READ_BUFFER_BYTES and not response.is_finished:
            self._transport.pause_reading()
            response.on_body_read = self._resume_reading

    def eof_received(self) -> None:
        self._open = False
        if self._response is None:
            return
        if self._may_be_truncated():
            self._response.fail(ConnectionLost("closed without close_notify"))
        else:
            self._response.end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open = False
        if self._response is not None:
            self._read_rest(self._response, exc)
            self._response.fail(ConnectionLost(type(exc).__name__))
            self._response = None
        self.resume_writing()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        self._on_closed(self)

    def pause_writing(self) -> None:
        self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def _resume_reading(self) -> None:
        if self._open:
            self._transport.resume_reading()

    def _may_be_truncated(self) -> bool:
        """Returns whether a TLS connection ended without close_notify, so that an attacker may have cut it (RFC 8446,
        6.1). uvloop reports this as a lost connection; asyncio does not tell the two apart.
        """
        tls = self._transport.get_extra_info("ssl_object")
        if tls is None:
            return False
        try:
            return bool(tls.read(1))
        except ssl.SSLZeroReturnError:
            return False
        except (ssl.SSLError, ValueError):
            return True

    def _read_rest(self, response: ResponseParser, error: Exception | None) -> None:
        """Reads what the upstream sent before it reset the connection."""
        if not isinstance(error, OSError) or self._transport.get_extra_info("sslcontext") is not None:
            return
        socket: Any = self._transport.get_extra_info("socket")
        try:
            while not response.is_finished and (data := os.read(socket.fileno(), READ_BUFFER_BYTES)):
                response.feed(data)
        except OSError:
            return
