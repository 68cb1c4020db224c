"""One form and its answer. They run at the same time: an answer may come while the form is still being sent."""

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
from app.wire.redaction import redacted

_LAST_CHUNK = b"0\r\n\r\n"

_log = logging.getLogger("audio_gateway.upstream")


class HttpResponse:
    """One answer whose head has arrived. A provider that echoes its key in a header does not get it past here."""

    def __init__(self, answer: ResponseParser, redact: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self.status = answer.status
        self.headers = Headers(redacted(answer.fields, redact))

    def body(self) -> AsyncIterator[bytes]:
        """The body as it comes; Broken if it ends before HTTP says so."""
        return self._answer.body()


class HttpUpstreamCall:
    """One form on its way. Closed before the form is out, it breaks the form off.

    Its connection is used again only if the answer began after the form was out, and is whole: a provider who answers
    early may never read the rest. When it has been closed, nothing of ours is inside of `body` any more.
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
        self._answer = ResponseParser()
        self._connection: Connection | None = None
        self._sending: asyncio.Task[None] | None = None
        self._error: Exception | None = None

    async def response(self) -> HttpResponse:
        """The answer's head; TransportFailure if none comes."""
        self._sending = asyncio.create_task(self._send())
        await self._answer.head()
        return HttpResponse(self._answer, self._redact)

    async def sent(self) -> None:
        """Until the body is closed, sent or not, or the connection has ended. Raises what the body raised in error."""
        sending, connection = self._sending, self._connection
        assert sending is not None
        assert connection is not None
        await asyncio.wait((sending, connection.lost()), return_when=asyncio.FIRST_COMPLETED)
        if self._error is not None:
            raise self._error

    async def aclose(self) -> None:
        sending, answer, connection = self._sending, self._answer, self._connection
        if sending is None:
            return
        sent = sending.done()
        sending.cancel()
        if connection is not None:
            if sent and answer.in_turn and answer.is_whole and answer.keeps_alive and connection.is_quiet:
                self._pool.give_back(connection)
            else:
                connection.abort()
        if not sent:
            await asyncio.wait((sending,))

    async def _send(self) -> None:
        """The form, as it comes. Whatever ends it ends the answer too, unless that is there already."""
        try:
            await self._sent()
        except TransportFailure as failure:
            self._answer.fail(failure)
        except APIError:
            self._answer.fail(ConnectionLost("APIError"))  # the form keeps it
        except Exception as error:
            # No failure of the provider's: it reaches the request as it is.
            self._error = error
            if self._answer.is_over:
                _log.exception("the form could not be sent, after its answer had come")
            self._answer.fail(error)

    async def _sent(self) -> None:
        connection = self._connection = await self._pool.take()
        unsent = self._head
        async with aclosing(self._body) as body:
            async for chunk in body:
                if unsent:
                    connection = await self._ready(connection)
                if chunk:
                    await connection.write(self._framed(unsent, chunk))
                    unsent = b""
        if unsent:
            connection = await self._ready(connection)
        self._answer.form_is_out = True
        last = unsent + _LAST_CHUNK if self._chunked else unsent
        if last:
            await connection.write((last,))

    async def _ready(self, connection: Connection) -> Connection:
        """The connection on which the answer is awaited from now on: a new one where the provider has ended this one
        before a byte was sent.
        """
        if not connection.is_usable:
            connection.abort()
            connection = self._connection = await self._pool.open()
        connection.expect(self._answer)
        return connection

    def _framed(self, head: bytes, chunk: bytes) -> Iterable[bytes]:
        if self._chunked:
            return b"%b%x\r\n" % (head, len(chunk)), chunk, b"\r\n"
        return (head, chunk) if head else (chunk,)
