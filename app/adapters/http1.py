"""One HTTP/1.1 connection: uvicorn's over httptools, with what that lacks in front of strangers.

head        a deadline, a limit on bytes and fields, and the framing rules of `app.wire.framing`
trailers    dropped; httptools hands them on as header fields, among which a handler could find a second key
errors      OpenAI's envelope with a request id, as everywhere else
ceiling     a connection too many is marked, and answered 503 on everything but health
"""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app import errors
from app.errors import Refusal
from app.wire import framing


class GatewayProtocol(HttpToolsProtocol):
    """uvicorn's connection. `configured` gives the class its settings."""

    new_request_id: Callable[[], str]
    max_connections: int
    head_seconds: float

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadline: asyncio.TimerHandle | None = None
        self._in_head = False
        self._head_bytes = 0
        self._fault: Refusal | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self.app_state = {**self.app_state, "over_capacity": True}
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._await_head()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            self._count(len(name) + len(value))
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_is_here()
        fault = framing.fault_of(self.parser.get_http_version(), self.headers)
        if fault is not None:
            self._refuse(fault)
        self._in_head = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read. A request before it that is still being answered is answered to its end."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and self._in_head:
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if not answering or not self.cycle.response_started:
            self._write(self._fault or errors.bad_request("The bytes received are not a valid HTTP/1.1 request."))
        self.transport.close()

    def _await_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.head_seconds, self._head_is_late)

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

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > framing.MAX_HEAD_BYTES or len(self.headers) >= framing.MAX_HEADERS:
            self._refuse(errors.head_too_large(framing.MAX_HEAD_BYTES, framing.MAX_HEADERS))

    def _refuse(self, refusal: Refusal) -> None:
        """Stop the parser, which then asks for the answer."""
        self._fault = refusal
        raise refusal

    def _write(self, refusal: Refusal) -> None:
        body = refusal.envelope()
        headers = (
            *refusal.all_headers(),
            (b"x-request-id", self.new_request_id().encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        )
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[refusal.status] + head + b"\r\n" + body)


def configured(new_request_id: Callable[[], str], max_connections: int, head_seconds: float) -> type[GatewayProtocol]:
    """The protocol with these settings, as a class that uvicorn makes connections of."""
    parts = {
        "new_request_id": staticmethod(new_request_id),
        "max_connections": max_connections,
        "head_seconds": head_seconds,
    }
    return type("ConfiguredProtocol", (GatewayProtocol,), parts)
