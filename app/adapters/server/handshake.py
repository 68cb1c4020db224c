"""TLS in front of `http1`: a connection counts from its accept on, and its head's deadline covers the handshake.

uvicorn would hand the connection over after the handshake, for which a silent peer has 60 s, uncounted.
"""

import asyncio
import ssl
from functools import partial
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from app.adapters.server.protocol import GatewayProtocol


class TlsHandshake(asyncio.Protocol):
    """One accepted connection until TLS is established, when a GatewayProtocol takes it over."""

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
        self._make = partial(self.http, config, server_state, app_state, _loop)
        self._loop = _loop or asyncio.get_event_loop()
        self._early = bytearray()
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connections.add(self)
        self._transport = cast(asyncio.Transport, transport)
        self._task = self._loop.create_task(self._establish(self._loop.time()))

    def data_received(self, data: bytes) -> None:
        """Keep what comes before `start_tls` reads, and what comes together with the last message of the handshake."""
        self._early += data

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True

    def shutdown(self) -> None:
        """As uvicorn's connections: the server stops, and no request has begun here."""
        self._transport.abort()

    async def _establish(self, accepted_at: float) -> None:
        # Runs when `start_tls` has put its own protocol in place of this one.
        self._loop.call_soon(self._hand_on_greeting)
        try:
            secured = await self._loop.start_tls(
                self._transport,
                self,
                self.context,
                server_side=True,
                ssl_handshake_timeout=self.http.head_seconds,
                ssl_shutdown_timeout=max(self.http.linger_seconds, 0.1),
            )
        except OSError:  # among them SSLError, and the handshake's timeout
            self._transport.abort()
            return
        finally:
            self._connections.discard(self)
        # `start_tls` returns a transport even when the connection ended before the handshake did.
        if secured is None or self._lost or self._transport.is_closing():
            return
        protocol = self._make()
        protocol.accepted_at = accepted_at
        secured.set_protocol(protocol)
        protocol.connection_made(secured)
        if self._early:
            protocol.data_received(bytes(self._early))

    def _hand_on_greeting(self) -> None:
        """Give the first bytes to TLS: uvloop reads them before this class can pause it."""
        greeting, self._early = memoryview(self._early), bytearray()
        tls = self._transport.get_protocol()
        if tls is self or self._transport.is_closing():
            return
        while greeting:
            buffer = memoryview(cast(asyncio.BufferedProtocol, tls).get_buffer(len(greeting)))
            count = min(len(buffer), len(greeting))
            buffer[:count] = greeting[:count]
            cast(asyncio.BufferedProtocol, tls).buffer_updated(count)
            greeting = greeting[count:]


def behind_tls(context: ssl.SSLContext, http: type[GatewayProtocol]) -> type[TlsHandshake]:
    """The protocol of new connections, as a class that uvicorn makes them of."""
    return type("ConfiguredHandshake", (TlsHandshake,), {"context": context, "http": http})
