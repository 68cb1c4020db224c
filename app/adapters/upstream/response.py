"""One answer, read as it comes. llhttp keeps to RFC 9112; its leniencies stay off, and what it lets through is here.

limits    on a field, on the number of fields, and on what the parser holds unfinished: it has none of its own
interim   answers of status 1xx are skipped, as many as come; the deadlines are the caller's
version   HTTP/1.0, whose connections are not used again, and 1.1
reason    has no control characters
end       of a connection ends only an answer that has neither a length nor chunks; a reset ends none, nor does the
          end of a TLS connection without close_notify
behind    whatever came with the answer's end and does not belong to it makes it Broken: its length was a lie
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
# What a piece takes beside its bytes: a provider may send them one by one.
PIECE_OVERHEAD_BYTES = 64

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_VERSIONS = frozenset({"1.0", "1.1"})
_SWITCHING_PROTOCOLS = 101


class ResponseParser:
    """What the provider answers to one form: fed by its connection, awaited by one task.

    `form_is_out` is set from outside; `in_turn` says whether the answer began only then. `held` is how much memory
    the body takes that waits to be taken, `when_taken` is called at each taking.
    """

    def __init__(self) -> None:
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._told: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._pieces: list[bytes] = []
        self._in_head, self._progress, self._unfinished = True, False, 0
        self.status = 0
        self.fields: list[Header] = []
        self.form_is_out = self.in_turn = False
        self.is_whole = self.keeps_alive = False
        self.held = 0
        self.when_taken: Callable[[], None] | None = None

    # -- for the task that awaits it

    async def head(self) -> None:
        """Until status and fields are there. If they never come it raises what `fail` was given, mostly a
        TransportFailure.
        """
        while self._in_head:
            if self._failure is not None:
                raise self._failure
            await self._news()

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it comes; Broken if it ends before HTTP says so."""
        while True:
            if self._pieces:
                yield self._taken()
            elif self._failure is not None:
                raise self._failure
            elif self.is_whole:
                return
            else:
                await self._news()

    # -- for its connection

    @property
    def is_over(self) -> bool:
        return self._parser is None

    def feed(self, data: bytes) -> None:
        """Read on. Not to be called when it is over."""
        assert self._parser is not None
        self._progress = False
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self.keeps_alive = False
        except HttpParserError as error:
            # Not the error's own words: they may be the provider's.
            self._over(ConnectionLost(type(error).__name__))
            return
        self._unfinished = 0 if self._progress else self._unfinished + len(data)
        if self.is_whole:
            self._over(None)
        elif self._unfinished > MAX_UNFINISHED_BYTES:
            self._over(ConnectionLost("a line without an end"))
        elif not self._in_head:
            self._tell()

    def end(self) -> None:
        """The connection has been closed in order."""
        if self._parser is None:
            return
        if self._in_head or self._says_where_it_ends():
            self._over(ConnectionLost("closed too early"))
        else:
            self.keeps_alive = False
            self._over(None)

    def fail(self, failure: Exception) -> None:
        """Nothing more will come; what came before counts."""
        if self._parser is not None:
            self._over(failure)

    # -- for httptools

    def on_message_begin(self) -> None:
        self._expect(not self.is_whole)
        self._progress, self.in_turn = True, self.form_is_out
        self.fields = []

    def on_status(self, reason: bytes) -> None:
        """A piece of it: the parser keeps none."""
        self._expect(_CONTROL.search(reason) is None)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._progress = True
        if self._in_head:
            self._expect(len(name) + len(value) <= MAX_FIELD_BYTES and len(self.fields) < MAX_FIELDS)
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        version = parser.get_http_version()
        self._expect(version in _VERSIONS)
        self.keeps_alive = version == "1.1"
        self.status = parser.get_status_code()
        self._in_head = 100 <= self.status < 200 and self.status != _SWITCHING_PROTOCOLS

    def on_body(self, body: bytes) -> None:
        self._progress = True
        self._pieces.append(body)
        self.held += len(body) + PIECE_OVERHEAD_BYTES

    def on_message_complete(self) -> None:
        if not self._in_head:
            assert self._parser is not None
            self.is_whole = True
            self.keeps_alive &= self._parser.should_keep_alive()

    @staticmethod
    def _expect(condition: bool) -> None:
        """An error in a callback stops the parser."""
        if not condition:
            raise ValueError

    def _says_where_it_ends(self) -> bool:
        return any(
            name == b"content-length" or (name == b"transfer-encoding" and b"chunked" in value.lower())
            for name, value in ((name.lower(), value) for name, value in self.fields)
        )

    def _taken(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces, self.held = [], 0
        if self.when_taken is not None:
            self.when_taken()
        return taken

    def _over(self, failure: Exception | None) -> None:
        """The parser holds methods of ours: let go of, it leaves no circle for the garbage collector."""
        self._parser, self._failure, self.is_whole = None, failure, failure is None
        self._tell()

    def _tell(self) -> None:
        if self._told is not None and not self._told.done():
            self._told.set_result(None)

    async def _news(self) -> None:
        self._told = asyncio.get_running_loop().create_future()
        await self._told
