"""One HTTP/1.1 connection: uvicorn's over httptools, with what that lacks in front of strangers.

head        a deadline, a limit on bytes and fields, and the framing rules of `app.wire.framing`
upgrade     ignored (RFC 9110, 7.8): Java's HttpClient and `curl --http2` offer h2c with ordinary requests
chunks      a limit on their number for the bytes that they carry
pipeline    the next requests are parsed when those before them are answered
trailers    dropped; httptools hands them on as header fields, among which a handler could find a second key
expect      no 100 Continue for HTTP/1.0, which knows none
body        what is left of it when its answer is complete has one more head's time and 1 MiB; then the connection ends
writing     a peer that reads nothing of what waits for it, or next to nothing, is cut off
errors      OpenAI's envelope with a request id, as everywhere else; what still comes is read and dropped for a while
ceiling     a connection too many is marked, and answered 503 on everything but health
"""

import asyncio
from collections.abc import Callable
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app import errors
from app.errors import APIError
from app.wire import framing

# Bytes a second that a peer must take of an answer that waits for it: what is held for it is bounded in time.
LOWEST_READ_RATE = 100
MAX_DROPPED_BYTES = 1024 * 1024

# A read may hold thousands of small requests: they are parsed in parts, and no further while a parsed one waits.
BYTES_AT_ONCE = 1024
CHUNKED_BYTES_AT_ONCE = 16 * 1024
MAX_WAITING = 64


class GatewayProtocol(HttpToolsProtocol):
    """uvicorn's connection. `configured` gives the class its settings."""

    new_request_id: Callable[[], str]
    max_connections: int
    head_seconds: float
    write_seconds: float
    linger_seconds: float

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadline: asyncio.TimerHandle | None = None
        self._write_watch: asyncio.TimerHandle | None = None
        self._unsent: int | None = None
        self._in_head = self._in_message = self._broken = False
        self._upgrading = self._began = self._body_came = False
        self._raw_bytes = self._body_bytes = self._dropped_bytes = self._small_chunks = 0
        self._pieces: list[bytes] = []
        self._unparsed = b""
        self.accepted_at: float | None = None
        self._fault: APIError | None = None
        self._running: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self.app_state = {**self.app_state, "over_capacity": True}
        self._await_head()
        self._watch_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        if self._write_watch is not None:
            self._write_watch.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """A caller who has sent all and closes his side alone still gets his answer, as the connection's last."""
        if self._in_message or self._is_idle():
            return False
        self.cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which holds an unfinished URL, field or trailer without a limit: its bytes are counted."""
        if self._broken or self.transport.is_closing():
            return
        if self._unparsed:
            self._unparsed += data
            return
        idle = self.timeout_keep_alive_task
        self._unset_keepalive_if_required()
        self._began = self._body_came = False
        try:
            self._parse(data)
            if self._pieces:
                self._hand_on()
        except (HttpParserError, APIError):
            self.send_400_response("")
        if self._broken or self.transport.is_closing():
            return
        if not self._in_message:
            if idle is not None and self.timeout_keep_alive_task is None and self._is_idle():
                self.timeout_keep_alive_task = self.loop.call_at(idle.when(), self.timeout_keep_alive_handler)
            return
        if self._in_head:
            self._await_head()
        # A read in which the request begins may hold bytes of others, too: those behind it are counted.
        self._raw_bytes = 0 if self._body_came or self._began else self._raw_bytes + len(data)
        if self._raw_bytes > framing.MAX_HEAD_BYTES:
            self._fault = framing.too_large()
            self.send_400_response("")
        elif self._dropped_bytes > MAX_DROPPED_BYTES:
            self._broken = True
            self._linger()

    def _parse(self, data: bytes) -> None:
        """Feed the parser until a request has to wait for the one before it; what is left is parsed after that one."""
        at = 0
        while at < len(data):
            end = len(data)
            if end - at > BYTES_AT_ONCE:
                end = min(end, self._end_of_part(data, at))
            part = data if end - at == len(data) else memoryview(data)[at:end]
            try:
                self.parser.feed_data(part)
                at = end
            except HttpParserUpgrade as upgrade:
                at += upgrade.args[0]
                self._parse_without_upgrade()
            if self.pipeline and at < len(data):
                self._unparsed = data[at:]
                return

    def _end_of_part(self, data: bytes, at: int) -> int:
        """Up to where to parse from here: one head, one body of known length, or some chunks."""
        if not self._in_message or self._in_head:
            end = data.find(b"\r\n\r\n", at)
            return len(data) if end < 0 else end + 4
        for name, value in self.headers:
            if name == b"content-length":
                return at + max(1, int(value) - self._body_bytes - sum(map(len, self._pieces)))
        return at + CHUNKED_BYTES_AT_ONCE

    def _parse_without_upgrade(self) -> None:
        """Parse the head once more, with a new parser and without `Upgrade`: the first one takes the body for another
        protocol. The head is the one that has been parsed, so that it frames the same body.
        """
        self._upgrading = False
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    def _parse_on(self) -> None:
        data, self._unparsed = self._unparsed, b""
        if data:
            self.data_received(data)

    def resume_writing(self) -> None:
        self._unsent = None
        super().resume_writing()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._in_message = self._began = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        tunnel = self.parser.should_upgrade()
        if tunnel and self.parser.get_method() != b"CONNECT":
            self._upgrading = True
            return
        self._head_is_here()
        if self.transport.is_closing():
            self._refuse(errors.bad_request("The connection is being closed."))
        if len(self.pipeline) >= MAX_WAITING:
            self._refuse(errors.bad_request("Too many requests wait on this connection."))
        version = self.parser.get_http_version()
        fault = framing.fault_of(version, self.url, self.headers, tunnel)
        if fault is not None:
            self._refuse(fault)
        self.expect_100_continue &= version != "1.0"
        super().on_headers_complete()
        self._in_head = False
        self._raw_bytes = self._body_bytes = self._dropped_bytes = self._small_chunks = 0

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def _hand_on(self) -> None:
        """Give the request what a read has of its body; APIError if that came in too many chunks."""
        pieces, self._pieces = self._pieces, []
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._body_came = True
        self._body_bytes += len(body)
        # A chunk that comes alone costs its sender as much as it costs us: those that come together are counted.
        self._small_chunks += len(pieces) - 1
        if self._small_chunks > framing.most_chunks(self._body_bytes):
            self._refuse(framing.chunks_too_small())
        cycle: Any = self.cycle
        if cycle.response_complete:
            self._dropped_bytes += len(body)
            return
        # In the place of uvicorn's bytearray: what is added to nothing and taken out whole is not copied.
        cycle.body = cycle.body + body if cycle.body else body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        if self._pieces:
            self._hand_on()
        self._in_message = False
        # The parser obeys a `Connection: close` among the trailers, too, and is deaf from here on.
        self.cycle.keep_alive &= self.parser.should_keep_alive()
        super().on_message_complete()
        if self.cycle.response_complete:
            self.transport.close()

    def on_response_complete(self) -> None:
        """The rest of the body is read and dropped for a while: a close at once could cost the caller its answer."""
        unfinished = not self.pipeline and self.cycle.more_body
        super().on_response_complete()
        if self._unparsed and not self.pipeline:
            self.loop.call_soon(self._parse_on)
        if unfinished and not self.transport.is_closing():
            self._await_head()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read. A request before it that is still being answered is answered to its end."""
        if self._broken or self.transport.is_closing():
            return
        self._broken = True
        running = self._running
        if running is not None and not running.response_complete and (self._in_head or self.pipeline):
            self._end_with_those_before(running)
            return
        if running is None or not self._in_message or self._in_head or not running.response_started:
            fault = self._fault or errors.bad_request("The bytes received are not a valid HTTP/1.1 request.")
            in_body = self._in_message and not self._in_head
            known = running.scope["state"].get("request_id") if running is not None and in_body else None
            self._write(fault, known or self.new_request_id())
        self._linger()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _end_with_those_before(self, running: RequestResponseCycle) -> None:
        """Forget the request that cannot be read; the one before it is the connection's last."""
        if not self._in_head:
            self.pipeline.popleft()
        self.cycle = self.pipeline[0][0] if self.pipeline else running
        self.cycle.keep_alive = False
        self.flow.pause_reading()

    def _linger(self) -> None:
        """End our side; a close at once would reset a caller who is still sending, and cost him the answer."""
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._head_is_here()
        self._deadline = self.loop.call_later(self.linger_seconds, self.transport.close)

    def _is_idle(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _watch_writing(self) -> None:
        self._write_watch = self.loop.call_later(self.write_seconds, self._look_at_writing)

    def _look_at_writing(self) -> None:
        """Abort if less than the lowest rate was taken since the last look, while nothing could be added."""
        size = self.transport.get_write_buffer_size()
        stuck = size > 0 and (self.flow.write_paused or self.transport.is_closing())
        if stuck and self._unsent is not None and self._unsent - size < LOWEST_READ_RATE * self.write_seconds:
            self.transport.abort()
            return
        self._unsent = size if stuck else None
        self._watch_writing()

    def _await_head(self) -> None:
        if self._deadline is None:
            began = self.loop.time() if self.accepted_at is None else self.accepted_at
            self.accepted_at = None
            self._deadline = self.loop.call_at(began + self.head_seconds, self._head_is_late)

    def _head_is_here(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_is_late(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self._in_head:
            self._fault = errors.request_timeout(f"its head took more than {self.head_seconds:g} s")
            self.send_400_response("")
        else:
            self.transport.close()

    def _refuse(self, refusal: APIError) -> None:
        """Stop the parser, which then asks for the answer."""
        self._fault = refusal
        raise refusal

    def _write(self, refusal: APIError, request_id: str) -> None:
        body = refusal.envelope()
        headers = (
            *refusal.all_headers(),
            (b"x-request-id", request_id.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        )
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        no_body = self._in_message and not self._in_head and self.scope["method"] == "HEAD"
        self.transport.write(STATUS_LINE[refusal.status] + head + b"\r\n" + (b"" if no_body else body))


def configured(
    new_request_id: Callable[[], str],
    max_connections: int,
    head_seconds: float,
    write_seconds: float,
    linger_seconds: float,
) -> type[GatewayProtocol]:
    """The protocol with these settings, as a class that uvicorn makes connections of."""
    parts = {
        "new_request_id": staticmethod(new_request_id),
        "max_connections": max_connections,
        "head_seconds": head_seconds,
        "write_seconds": write_seconds,
        "linger_seconds": linger_seconds,
    }
    return type("ConfiguredProtocol", (GatewayProtocol,), parts)
