"""Reads the body of a request strictly and in chunks, as HTTP/1.1 frames it (RFC 9112, 6 and 7)."""

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
        chunk = await reader.read(min(size, READ_SIZE))
        if not chunk:
            raise EOFError
        size -= len(chunk)
        yield chunk


async def _body(reader: asyncio.StreamReader, exchange: Exchange) -> AsyncIterator[bytes]:
    length, coding = exchange.header("content-length"), exchange.header("transfer-encoding")
    if coding is None:
        async for chunk in _sized(reader, int(length or 0)):
            yield chunk
        return
    if coding.lower() != "chunked" or length is not None:
        raise Malformed(f"Transfer-Encoding {coding!r}, Content-Length {length!r}")
    while size := await _line(reader):
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", size):
            raise Malformed(f"chunk size {size[:40]!r}")
        if int(size, 16) == 0:
            break
        async for chunk in _sized(reader, int(size, 16)):
            yield chunk
        if await reader.readexactly(2) != b"\r\n":
            raise Malformed("a chunk longer than its size line")
    while trailer := await _line(reader):
        exchange.trailers.append(trailer)


class Upload:
    """The body of one exchange. Reading can stop anywhere for a response and go on after it."""

    def __init__(self, reader: asyncio.StreamReader, exchange: Exchange) -> None:
        self._chunks = _body(reader, exchange)
        self._exchange = exchange

    async def read(self, upto: float = math.inf) -> None:
        """Reads until so many bytes have arrived or the body ends. Raises Gone or Malformed."""
        exchange = self._exchange
        try:
            while exchange.finished_at is None and exchange.size < upto:
                chunk = await anext(self._chunks, None)
                if chunk is None:
                    exchange.finish(complete=True)
                else:
                    exchange.take(chunk)
        except (EOFError, OSError) as error:
            exchange.finish(aborted=True)
            raise Gone from error
        except Malformed as error:
            exchange.finish(fault=str(error))
            raise
