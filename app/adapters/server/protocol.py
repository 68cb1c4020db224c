"""One HTTP/1.1 connection: uvicorn's protocol over httptools, hardened against hostile and broken callers.

head        has a deadline, a limit on bytes and fields, and the framing rules of `app.wire.framing`
upgrade     is ignored (RFC 9110, 7.8): Java's HttpClient and `curl --http2` offer h2c with ordinary requests
chunks      have a limit on their number for the bytes that they carry
pipeline    the next request is parsed after the response to the one before
trailers    are dropped: httptools reports them as header fields, so that a handler could find a second key
expect      HTTP/1.0 gets no 100 Continue, which it does not know
body        once its response is complete, the rest has the time of a head and 1 MiB; then the connection ends
writing     a peer that reads nothing of a waiting response, or next to nothing, is disconnected
errors      have OpenAI's envelope and a request id; bytes that still arrive are read and dropped for a while
ceiling     a connection above the limit is marked and gets 503, except on the health paths
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

# Bytes a second that a peer must read of a waiting response: this limits how long the gateway buffers it.
MIN_READ_RATE = 100
MAX_DROPPED_BYTES = 1024 * 1024

# One read may have thousands of small requests. They are parsed in parts, and parsing stops while a request waits.
PARSE_BYTES = 1024
PARSE_CHUNKED_BYTES = 16 * 1024
MAX_PIPELINED = 64


class GatewayProtocol(HttpToolsProtocol):
    """uvicorn's connection. `protocol_class` makes a subclass with the settings."""

    new_request_id: Callable[[], str]
    max_connections: int
    head_seconds: float
    write_seconds: float
    linger_seconds: float

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadline: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._last_unsent: int | None = None
        self._in_head = self._in_message = self._broken = False
        self._upgrading = self._message_began = self._body_received = False
        self._overhead_bytes = self._body_bytes = self._dropped_bytes = self._small_chunks = 0
        self._body_chunks: list[bytes] = []
        self._unparsed = b""
        self.accepted_at: float | None = None
        self._error: APIError | None = None
        self._running_cycle: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self.app_state = {**self.app_state, "over_capacity": True}
        self._start_deadline()
        self._schedule_write_check()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keeps a connection open whose caller has sent a request and closed its own side: the response is the last."""
        if self._in_message or self._is_idle():
            return False
        self.cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        """Feeds the parser, and limits the bytes of an unfinished URL, field or trailer, which the parser does not."""
        if self._broken or self.transport.is_closing():
            return
        if self._unparsed:
            self._unparsed += data
            return
        idle = self.timeout_keep_alive_task
        self._unset_keepalive_if_required()
        self._message_began = self._body_received = False
        try:
            self._parse(data)
            if self._body_chunks:
                self._deliver_body()
        except (HttpParserError, APIError):
            self.send_400_response("")
        if self._broken or self.transport.is_closing():
            return
        if not self._in_message:
            if idle is not None and self.timeout_keep_alive_task is None and self._is_idle():
                self.timeout_keep_alive_task = self.loop.call_at(idle.when(), self.timeout_keep_alive_handler)
            return
        if self._in_head:
            self._start_deadline()
        # A read in which a request begins may have bytes of an earlier one: the count starts with the next read.
        self._overhead_bytes = 0 if self._body_received or self._message_began else self._overhead_bytes + len(data)
        if self._overhead_bytes > framing.MAX_HEAD_BYTES:
            self._error = framing.too_large()
            self.send_400_response("")
        elif self._dropped_bytes > MAX_DROPPED_BYTES:
            self._broken = True
            self._linger()

    def _parse(self, data: bytes) -> None:
        """Feeds the parser until a request has to wait for the one before it. The rest is parsed after that one."""
        at = 0
        while at < len(data):
            end = len(data)
            if end - at > PARSE_BYTES:
                end = min(end, self._part_end(data, at))
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

    def _part_end(self, data: bytes, at: int) -> int:
        """Returns where the next part ends: one head, one body of known length, or some chunks."""
        if not self._in_message or self._in_head:
            end = data.find(b"\r\n\r\n", at)
            return len(data) if end < 0 else end + 4
        for name, value in self.headers:
            if name == b"content-length":
                return at + max(1, int(value) - self._body_bytes - sum(map(len, self._body_chunks)))
        return at + PARSE_CHUNKED_BYTES

    def _parse_without_upgrade(self) -> None:
        """Parses the head again without `Upgrade`, with a new parser: the first takes the body for another protocol.
        The new head comes from the parsed fields, so that it frames the same body.
        """
        self._upgrading = False
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    def _parse_rest(self) -> None:
        data, self._unparsed = self._unparsed, b""
        if data:
            self.data_received(data)

    def resume_writing(self) -> None:
        self._last_unsent = None
        super().resume_writing()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._in_message = self._message_began = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        tunnel = self.parser.should_upgrade()
        if tunnel and self.parser.get_method() != b"CONNECT":
            self._upgrading = True
            return
        self._cancel_deadline()
        if self.transport.is_closing():
            self._reject(errors.bad_request("The connection is being closed."))
        if len(self.pipeline) >= MAX_PIPELINED:
            self._reject(errors.bad_request("Too many requests wait on this connection."))
        version = self.parser.get_http_version()
        error = framing.check_head(version, self.url, self.headers, tunnel)
        if error is not None:
            self._reject(error)
        self.expect_100_continue &= version != "1.0"
        super().on_headers_complete()
        self._in_head = False
        self._overhead_bytes = self._body_bytes = self._dropped_bytes = self._small_chunks = 0

    def on_body(self, body: bytes) -> None:
        self._body_chunks.append(body)

    def _deliver_body(self) -> None:
        """Delivers the body bytes of one read to the request. Raises APIError if they came in too many chunks."""
        chunks, self._body_chunks = self._body_chunks, []
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._body_received = True
        self._body_bytes += len(body)
        # A chunk alone in a read costs its sender as much as the gateway: only further chunks of a read count.
        self._small_chunks += len(chunks) - 1
        if self._small_chunks > framing.max_chunks(self._body_bytes):
            self._reject(framing.chunks_too_small())
        cycle: Any = self.cycle
        if cycle.response_complete:
            self._dropped_bytes += len(body)
            return
        # Replaces uvicorn's bytearray: bytes that are added to an empty body and taken out whole are not copied.
        cycle.body = cycle.body + body if cycle.body else body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        if self._body_chunks:
            self._deliver_body()
        self._in_message = False
        # The parser also obeys `Connection: close` in a trailer, and then accepts no further request.
        self.cycle.keep_alive &= self.parser.should_keep_alive()
        super().on_message_complete()
        if self.cycle.response_complete:
            self.transport.close()

    def on_response_complete(self) -> None:
        """Reads and drops the rest of the body for a while: closing at once could destroy the response on its way."""
        unfinished = not self.pipeline and self.cycle.more_body
        super().on_response_complete()
        if self._unparsed and not self.pipeline:
            self.loop.call_soon(self._parse_rest)
        if unfinished and not self.transport.is_closing():
            self._start_deadline()

    def send_400_response(self, msg: str) -> None:
        """Rejects an unreadable request and ends the connection, after the responses to earlier requests."""
        if self._broken or self.transport.is_closing():
            return
        self._broken = True
        running = self._running_cycle
        if running is not None and not running.response_complete and (self._in_head or self.pipeline):
            self._finish_earlier_requests(running)
            return
        if running is None or not self._in_message or self._in_head or not running.response_started:
            error = self._error or errors.bad_request("The bytes received are not a valid HTTP/1.1 request.")
            in_body = self._in_message and not self._in_head
            known_id = running.scope["state"].get("request_id") if running is not None and in_body else None
            self._write_error(error, known_id or self.new_request_id())
        self._linger()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running_cycle = cycle
        super()._start_asgi_task(cycle, app)

    def _finish_earlier_requests(self, running: RequestResponseCycle) -> None:
        """Drops the unreadable request and makes the one before it the connection's last."""
        if not self._in_head:
            self.pipeline.popleft()
        self.cycle = self.pipeline[0][0] if self.pipeline else running
        self.cycle.keep_alive = False
        self.flow.pause_reading()

    def _linger(self) -> None:
        """Closes the sending side only. Closing both would reset a caller that still sends, and lose the response."""
        if self._running_cycle is not None:
            self._running_cycle.disconnected = True
            self._running_cycle.message_event.set()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._cancel_deadline()
        self._deadline = self.loop.call_later(self.linger_seconds, self.transport.close)

    def _is_idle(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _schedule_write_check(self) -> None:
        self._write_timer = self.loop.call_later(self.write_seconds, self._check_writing)

    def _check_writing(self) -> None:
        """Aborts the connection if the peer read less than the minimum rate since the last check of a full buffer."""
        size = self.transport.get_write_buffer_size()
        stuck = size > 0 and (self.flow.write_paused or self.transport.is_closing())
        if stuck and self._last_unsent is not None and self._last_unsent - size < MIN_READ_RATE * self.write_seconds:
            self.transport.abort()
            return
        self._last_unsent = size if stuck else None
        self._schedule_write_check()

    def _start_deadline(self) -> None:
        if self._deadline is None:
            began = self.loop.time() if self.accepted_at is None else self.accepted_at
            self.accepted_at = None
            self._deadline = self.loop.call_at(began + self.head_seconds, self._on_deadline)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_deadline(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self._in_head:
            self._error = errors.request_timeout(f"its head took more than {self.head_seconds:g} s")
            self.send_400_response("")
        else:
            self.transport.close()

    def _reject(self, error: APIError) -> None:
        """Stops the parser: the error reaches `data_received`, which sends it."""
        self._error = error
        raise error

    def _write_error(self, error: APIError, request_id: str) -> None:
        body = error.envelope()
        headers = (
            *error.all_headers(),
            (b"x-request-id", request_id.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        )
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        no_body = self._in_message and not self._in_head and self.scope["method"] == "HEAD"
        self.transport.write(STATUS_LINE[error.status] + head + b"\r\n" + (b"" if no_body else body))


def protocol_class(
    new_request_id: Callable[[], str],
    max_connections: int,
    head_seconds: float,
    write_seconds: float,
    linger_seconds: float,
) -> type[GatewayProtocol]:
    """Returns the protocol class with these settings. uvicorn instantiates it for each connection."""
    settings = {
        "new_request_id": staticmethod(new_request_id),
        "max_connections": max_connections,
        "head_seconds": head_seconds,
        "write_seconds": write_seconds,
        "linger_seconds": linger_seconds,
    }
    return type("ConfiguredProtocol", (GatewayProtocol,), settings)
