"""The pool of connections to one upstream. It reuses the idle connection that was used last."""

import asyncio
import ssl
from functools import partial

from app.adapters.upstream.connecting import Connector
from app.adapters.upstream.connection import Connection
from app.adapters.upstream.origin import Origin
from app.gateway.ports import ConnectTimeout, Unreachable

KEEP_ALIVE_SECONDS = 4


class Pool:
    """Belongs to one event loop. `connect_seconds` covers DNS, TCP connect and TLS handshake together."""

    def __init__(self, origin: Origin, tls: ssl.SSLContext, connect_seconds: float) -> None:
        self._connector = Connector(origin.host, origin.port)
        self._tls = tls if origin.scheme == "https" else None
        self._server_name = None if self._tls is None else origin.host
        self._connect_seconds = connect_seconds
        self._idle: dict[Connection, float] = {}  # connection to loop time of its release, oldest first
        self._all: set[Connection] = set()
        self._idle_timer: asyncio.TimerHandle | None = None

    async def acquire(self) -> Connection:
        """Returns an idle connection, or else a new one."""
        return self._idle.popitem()[0] if self._idle else await self.open()

    async def open(self) -> Connection:
        """Returns a new connection. Raises ConnectTimeout or Unreachable."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_seconds):
                connected = await self._connector.connect()
                protocol = partial(Connection, self._remove)
                _, connection = await loop.create_connection(
                    protocol, sock=connected, ssl=self._tls, server_hostname=self._server_name
                )
        except TimeoutError as error:
            raise ConnectTimeout from error
        except (OSError, UnicodeError) as error:
            raise Unreachable(type(error).__name__) from error
        self._all.add(connection)
        return connection

    def release(self, connection: Connection) -> None:
        """Makes a connection available for the next request. Its last request and response must be complete."""
        loop = asyncio.get_running_loop()
        connection.set_idle()
        self._idle[connection] = loop.time()
        if self._idle_timer is None:
            self._idle_timer = loop.call_later(KEEP_ALIVE_SECONDS, self._close_expired)

    def close(self) -> None:
        """Aborts all connections."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        for connection in self._all:
            connection.abort()

    def _close_expired(self) -> None:
        self._idle_timer = None
        loop = asyncio.get_running_loop()
        for connection, released_at in list(self._idle.items()):
            expires_at = released_at + KEEP_ALIVE_SECONDS
            if expires_at > loop.time():
                self._idle_timer = loop.call_at(expires_at, self._close_expired)
                return
            del self._idle[connection]
            connection.abort()

    def _remove(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self._all.discard(connection)
