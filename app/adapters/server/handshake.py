"""TLS in front of `protocol`: a connection counts from its accept, and the deadline of its head covers the handshake.

With uvicorn's own TLS a connection would not count before its handshake, for which a silent peer would have 60 s.
"""

import asyncio
import ssl
from functools import partial
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from app.adapters.server.protocol import GatewayProtocol


class TlsHandshake(asyncio.Protocol):
    """One accepted connection until TLS is established. Then a GatewayProtocol replaces it."""

    context: ssl.SSLContext
    http: type[GatewayProtocol]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._connections = cast(set[asyncio.Protocol], server_state.connections)
        self._new_protocol = partial(self.http, config, server_state, app_state, _loop)
        self._loop = _loop or asyncio.get_event_loop()
        self._received = bytearray()
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connections.add(self)
        self._transport = cast(asyncio.Transport, transport)
        self._task = self._loop.create_task(self._establish(self._loop.time()))

    def data_received(self, data: bytes) -> None:
        """Keeps bytes that arrive before `start_tls` reads, and those behind the last message of the handshake."""
        self._received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True

    def shutdown(self) -> None:
        """Ends the connection when the server stops, as in uvicorn's protocols. No request has begun here."""
        self._transport.abort()

    async def _establish(self, accepted_at: float) -> None:
        # Runs after `start_tls` has replaced this protocol by its own.
        self._loop.call_soon(self._forward_first_bytes)
        try:
            secured = await self._loop.start_tls(
                self._transport,
                self,
                self.context,
                server_side=True,
                ssl_handshake_timeout=self.http.head_seconds,
                ssl_shutdown_timeout=max(self.http.linger_seconds, 0.1),
            )
        except OSError:  # includes SSLError and the timeout of the handshake
            self._transport.abort()
            return
        finally:
            self._connections.discard(self)
        # `start_tls` returns a transport even when the connection ended before the handshake did.
        if secured is None or self._lost or self._transport.is_closing():
            return
        protocol = self._new_protocol()
        protocol.accepted_at = accepted_at
        secured.set_protocol(protocol)
        protocol.connection_made(secured)
        if self._received:
            protocol.data_received(bytes(self._received))

    def _forward_first_bytes(self) -> None:
        """Passes the first bytes on to TLS: uvloop reads them before this class can pause it."""
        data, self._received = memoryview(self._received), bytearray()
        tls = self._transport.get_protocol()
        if tls is self or self._transport.is_closing():
            return
        while data:
            buffer = memoryview(cast(asyncio.BufferedProtocol, tls).get_buffer(len(data)))
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            cast(asyncio.BufferedProtocol, tls).buffer_updated(count)
            data = data[count:]


def tls_protocol_class(context: ssl.SSLContext, http: type[GatewayProtocol]) -> type[TlsHandshake]:
    """Returns the protocol class that uvicorn instantiates for each connection."""
    return type("ConfiguredHandshake", (TlsHandshake,), {"context": context, "http": http})
