"""The body of a request, read strictly and in portions, as HTTP/1.1 frames it (RFC 9112, 6 and 7)."""

import asyncio
import math
import re
from collections.abc import AsyncIterator

from tests.stubs.exchange import Exchange

READ_SIZE = 256 * 1024


class Malformed(Exception):
    """The caller's bytes are not HTTP/1.1 as a careful client writes it."""


class Gone(ConnectionError):
    """The other side has left, or the script ended the connection."""


async def _line(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readuntil(b"\r\n")
    return line[:-2]


async def _sized(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    while size:
        piece = await reader.read(min(size, READ_SIZE))
        if not piece:
            raise EOFError
        size -= len(piece)
        yield piece


async def _body(reader: asyncio.StreamReader, exchange: Exchange) -> AsyncIterator[bytes]:
    length, coding = exchange.header("content-length"), exchange.header("transfer-encoding")
    if coding is None:
        async for piece in _sized(reader, int(length or 0)):
            yield piece
        return
    if coding.lower() != "chunked" or length is not None:
        raise Malformed(f"Transfer-Encoding {coding!r}, Content-Length {length!r}")
    while size := await _line(reader):
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", size):
            raise Malformed(f"chunk size {size[:40]!r}")
        if int(size, 16) == 0:
            break
        async for piece in _sized(reader, int(size, 16)):
            yield piece
        if await reader.readexactly(2) != b"\r\n":
            raise Malformed("a chunk longer than it said")
    while trailer := await _line(reader):
        exchange.trailers.append(trailer)


class Upload:
    """The body of one exchange: reading can stop anywhere for an answer, and go on after it."""

    def __init__(self, reader: asyncio.StreamReader, exchange: Exchange) -> None:
        self._pieces = _body(reader, exchange)
        self._exchange = exchange

    async def read(self, upto: float = math.inf) -> None:
        """Read until so many bytes have come or the body has ended. Raises Gone or Malformed if it ends badly."""
        exchange = self._exchange
        try:
            while exchange.finished_at is None and exchange.size < upto:
                piece = await anext(self._pieces, None)
                if piece is None:
                    exchange.finish(complete=True)
                else:
                    exchange.take(piece)
        except (EOFError, OSError) as error:
            exchange.finish(aborted=True)
            raise Gone from error
        except Malformed as error:
            exchange.finish(fault=str(error))
            raise
