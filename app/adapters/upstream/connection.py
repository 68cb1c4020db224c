"""One connection to the provider: bytes out and in, with flow control both ways. It knows of one answer at a time.

at rest     nothing is due: what comes then would be taken for the answer to the next form, so it ends the connection
last words  Where a provider answers early and closes with our bytes unread, its kernel sends a reset, on which our next
            write fails. The answer came before and is still there to be read (under TLS it no longer is).
ending      is always at once: to close in order could wait for ever until the provider has read what is unsent
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
    """`ended` is told once when it has ended, whoever ended it."""

    def __init__(self, ended: Callable[["Connection"], None]) -> None:
        self._ended = ended
        self._answer: ResponseParser | None = None
        self._drained: asyncio.Future[None] | None = None
        self._lost: asyncio.Future[None] | None = None
        self._open, self._has_rested = True, False
        self._unread = select.poll()

    # -- for the post

    @property
    def is_usable(self) -> bool:
        """Whether it is open; after a rest also by the kernel, where the provider's end may lie unread."""
        return self._open and not (self._has_rested and self._unread.poll(0))

    @property
    def is_quiet(self) -> bool:
        """Whether it is open, and all that was written to it is on its way."""
        return self._open and not self._transport.get_write_buffer_size()

    def expect(self, answer: ResponseParser) -> None:
        self._answer = answer

    def lost(self) -> "asyncio.Future[None]":
        """Done when the connection has ended."""
        self._lost = asyncio.get_running_loop().create_future()
        if not self._open:
            self._lost.set_result(None)
        return self._lost

    async def write(self, pieces: Iterable[bytes]) -> None:
        """Returns when more may be written; Broken if nobody is there to read it."""
        if not self._open:
            raise ConnectionLost("closed")
        self._transport.writelines(pieces)
        if self._drained is not None:
            await self._drained

    def rest(self) -> None:
        """The answer is over and no other is due."""
        self._answer, self._has_rested = None, True

    def abort(self) -> None:
        self._open = False
        self._transport.abort()

    # -- for asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._unread.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or answer.is_over:
            self.abort()
            return
        answer.feed(data)
        if answer.held > READ_BUFFER_BYTES and not answer.is_over:
            self._transport.pause_reading()
            answer.when_taken = self._read_on

    def eof_received(self) -> None:
        self._open = False
        if self._answer is None:
            return
        if self._may_be_cut():
            self._answer.fail(ConnectionLost("closed without close_notify"))
        else:
            self._answer.end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open = False
        if self._answer is not None:
            self._read_last_words(self._answer, exc)
            self._answer.fail(ConnectionLost(type(exc).__name__))
            self._answer = None
        self.resume_writing()
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)
        self._ended(self)

    def pause_writing(self) -> None:
        self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def _read_on(self) -> None:
        if self._open:
            self._transport.resume_reading()

    def _may_be_cut(self) -> bool:
        """Whether the end of a TLS connection came without its close_notify: then anybody may have cut it (RFC 8446,
        6.1). uvloop calls this a lost connection by itself; asyncio does not tell the two apart.
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

    def _read_last_words(self, answer: ResponseParser, error: Exception | None) -> None:
        if not isinstance(error, OSError) or self._transport.get_extra_info("sslcontext") is not None:
            return
        socket: Any = self._transport.get_extra_info("socket")
        try:
            while not answer.is_over and (data := os.read(socket.fileno(), READ_BUFFER_BYTES)):
                answer.feed(data)
        except OSError:
            return
