"""One request and its response. Both run at the same time: a response may come while the request is being sent."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing

from app.adapters.upstream.connection import Connection
from app.adapters.upstream.pool import Pool
from app.adapters.upstream.response import ResponseParser
from app.errors import APIError
from app.gateway.ports import ConnectionLost, TransportFailure
from app.wire.headers import Headers
from app.wire.redaction import redact_headers

_LAST_CHUNK = b"0\r\n\r\n"

_log = logging.getLogger("audio_gateway.upstream")


class HttpResponse:
    """A response whose head has arrived. The provider's key is removed from its header fields."""

    def __init__(self, parser: ResponseParser, redact: Callable[[bytes], bytes]) -> None:
        self._parser = parser
        self.status = parser.status
        self.headers = Headers(redact_headers(parser.fields, redact))

    def body(self) -> AsyncIterator[bytes]:
        """Yields the body as it arrives. Raises ConnectionLost if it ends before HTTP says so."""
        return self._parser.body()


class HttpUpstreamCall:
    """One request to the upstream. Closing it before the request is sent aborts the request.

    Its connection is reused only if the response is complete and began after the request was sent: an upstream that
    responds early may never read the rest. After `aclose` no code of this call runs inside `body`.
    """

    def __init__(
        self,
        pool: Pool,
        head: bytes,
        body: AsyncGenerator[bytes, None],
        *,
        chunked: bool,
        redact: Callable[[bytes], bytes],
    ) -> None:
        self._pool = pool
        self._head = head
        self._body = body
        self._chunked = chunked
        self._redact = redact
        self._response = ResponseParser()
        self._connection: Connection | None = None
        self._sending: asyncio.Task[None] | None = None
        self._error: Exception | None = None

    async def response(self) -> HttpResponse:
        """Starts the request and returns the response once its head is complete. Raises TransportFailure."""
        self._sending = asyncio.create_task(self._send())
        await self._response.head()
        return HttpResponse(self._response, self._redact)

    async def sent(self) -> None:
        """Waits until the body is closed, sent or not, or the connection has ended. Raises an error of the body."""
        sending, connection = self._sending, self._connection
        assert sending is not None
        assert connection is not None
        await asyncio.wait((sending, connection.closed()), return_when=asyncio.FIRST_COMPLETED)
        if self._error is not None:
            raise self._error

    async def aclose(self) -> None:
        sending, response, connection = self._sending, self._response, self._connection
        if sending is None:
            return
        sent = sending.done()
        sending.cancel()
        if connection is not None:
            in_order = sent and response.began_after_request
            if in_order and response.is_complete and response.keep_alive and connection.is_flushed:
                self._pool.release(connection)
            else:
                connection.abort()
        if not sent:
            await asyncio.wait((sending,))

    async def _send(self) -> None:
        """Sends the request. A failure of it fails the response, too, unless that is finished."""
        try:
            await self._send_request()
        except TransportFailure as failure:
            self._response.fail(failure)
        except APIError:
            self._response.fail(ConnectionLost("APIError"))  # the request body keeps the APIError
        except Exception as error:
            # Not a failure of the upstream: the gateway's request gets the error as it is.
            self._error = error
            if self._response.is_finished:
                _log.exception("the request could not be sent, after its response had come")
            self._response.fail(error)

    async def _send_request(self) -> None:
        connection = self._connection = await self._pool.acquire()
        head = self._head
        async with aclosing(self._body) as body:
            async for chunk in body:
                if head:
                    connection = await self._prepare(connection)
                if chunk:
                    await connection.write(self._framed(head, chunk))
                    head = b""
        if head:
            connection = await self._prepare(connection)
        self._response.request_sent = True
        last = head + _LAST_CHUNK if self._chunked else head
        if last:
            await connection.write((last,))

    async def _prepare(self, connection: Connection) -> Connection:
        """Attaches the response to the connection and returns it; a new one if the upstream has closed this one before
        a byte was sent.
        """
        if not connection.is_usable:
            connection.abort()
            connection = self._connection = await self._pool.open()
        connection.expect(self._response)
        return connection

    def _framed(self, head: bytes, chunk: bytes) -> Iterable[bytes]:
        """Returns the head, if it is unsent, and one chunk of the body."""
        if self._chunked:
            return b"%b%x\r\n" % (head, len(chunk)), chunk, b"\r\n"
        return (head, chunk) if head else (chunk,)
