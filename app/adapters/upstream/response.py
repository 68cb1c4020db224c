"""The incremental response parser. llhttp enforces RFC 9112 with its leniencies off; this module adds the rest.

limits     on a field, on the number of fields, and on bytes that the parser holds unfinished: llhttp has none
interim    responses of status 1xx are skipped, however many; deadlines are the caller's
version    HTTP/1.1, and HTTP/1.0, whose connections are not reused
reason     has no control characters
end        the end of the connection ends only a response with neither a length nor chunks; a reset ends none, nor does
           the end of a TLS connection without close_notify
surplus    bytes after the response's end make it a ConnectionLost: its length was wrong
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from app.errors import Header
from app.gateway.ports import ConnectionLost

MAX_FIELD_BYTES = 8 * 1024
MAX_FIELDS = 128
MAX_UNFINISHED_BYTES = 64 * 1024
# The memory of a chunk beside its bytes: an upstream may send one byte at a time.
CHUNK_OVERHEAD_BYTES = 64

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_VERSIONS = frozenset({"1.0", "1.1"})
_SWITCHING_PROTOCOLS = 101


class ResponseParser:
    """The response to one request: its connection feeds it, and one task reads it.

    request_sent         the call sets it when the last byte of the body is written
    began_after_request  whether the response began only after that
    buffered_bytes       the memory of the body that is not yet read
    on_body_read         called each time the task reads the buffered body
    """

    def __init__(self) -> None:
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._changed: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._chunks: list[bytes] = []
        self._in_head, self._progress, self._unfinished_bytes = True, False, 0
        self.status = 0
        self.fields: list[Header] = []
        self.request_sent = self.began_after_request = False
        self.is_complete = self.keep_alive = False
        self.buffered_bytes = 0
        self.on_body_read: Callable[[], None] | None = None

    # -- for the task that reads it

    async def head(self) -> None:
        """Waits for status and fields. If they never come it raises what `fail` was called with."""
        while self._in_head:
            if self._failure is not None:
                raise self._failure
            await self._wait_for_change()

    async def body(self) -> AsyncIterator[bytes]:
        """Yields the body as it arrives. Raises ConnectionLost if it ends before HTTP says so."""
        while True:
            if self._chunks:
                yield self._take_buffered()
            elif self._failure is not None:
                raise self._failure
            elif self.is_complete:
                return
            else:
                await self._wait_for_change()

    # -- for its connection

    @property
    def is_finished(self) -> bool:
        """Whether no more bytes are accepted: the response is complete or has failed."""
        return self._parser is None

    def feed(self, data: bytes) -> None:
        """Parses these bytes. Must not be called once `is_finished`."""
        assert self._parser is not None
        self._progress = False
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self.keep_alive = False
        except HttpParserError as error:
            # The error's own text may quote the upstream's bytes.
            self._finish(ConnectionLost(type(error).__name__))
            return
        self._unfinished_bytes = 0 if self._progress else self._unfinished_bytes + len(data)
        if self.is_complete:
            self._finish(None)
        elif self._unfinished_bytes > MAX_UNFINISHED_BYTES:
            self._finish(ConnectionLost("a line without an end"))
        elif not self._in_head:
            self._notify()

    def end(self) -> None:
        """Ends the response because the connection has been closed in an orderly way."""
        if self._parser is None:
            return
        if self._in_head or self._has_framing():
            self._finish(ConnectionLost("closed too early"))
        else:
            self.keep_alive = False
            self._finish(None)

    def fail(self, failure: Exception) -> None:
        """Ends the response with this failure, unless it is finished. The bytes that came before stay readable."""
        if self._parser is not None:
            self._finish(failure)

    # -- for httptools

    def on_message_begin(self) -> None:
        self._require(not self.is_complete)
        self._progress, self.began_after_request = True, self.request_sent
        self.fields = []

    def on_status(self, reason: bytes) -> None:
        """Checks a part of the reason phrase. The phrase itself is dropped."""
        self._require(_CONTROL.search(reason) is None)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._progress = True
        if self._in_head:
            self._require(len(name) + len(value) <= MAX_FIELD_BYTES and len(self.fields) < MAX_FIELDS)
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        version = parser.get_http_version()
        self._require(version in _VERSIONS)
        self.keep_alive = version == "1.1"
        self.status = parser.get_status_code()
        self._in_head = 100 <= self.status < 200 and self.status != _SWITCHING_PROTOCOLS

    def on_body(self, body: bytes) -> None:
        self._progress = True
        self._chunks.append(body)
        self.buffered_bytes += len(body) + CHUNK_OVERHEAD_BYTES

    def on_message_complete(self) -> None:
        if not self._in_head:
            assert self._parser is not None
            self.is_complete = True
            self.keep_alive &= self._parser.should_keep_alive()

    @staticmethod
    def _require(condition: bool) -> None:
        """Stops the parser unless the condition holds: it stops on an error in a callback."""
        if not condition:
            raise ValueError

    def _has_framing(self) -> bool:
        """Returns whether a header field says where the body ends."""
        return any(
            name == b"content-length" or (name == b"transfer-encoding" and b"chunked" in value.lower())
            for name, value in ((name.lower(), value) for name, value in self.fields)
        )

    def _take_buffered(self) -> bytes:
        body = b"".join(self._chunks)
        self._chunks, self.buffered_bytes = [], 0
        if self.on_body_read is not None:
            self.on_body_read()
        return body

    def _finish(self, failure: Exception | None) -> None:
        """Drops the parser, which holds bound methods of this object: it would be a reference cycle."""
        self._parser, self._failure, self.is_complete = None, failure, failure is None
        self._notify()

    def _notify(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def _wait_for_change(self) -> None:
        self._changed = asyncio.get_running_loop().create_future()
        await self._changed
