"""The connections to one provider: those at rest, the newest to be used first, and how a new one is opened."""

import asyncio
import ssl
from functools import partial

from app.adapters.upstream.connecting import Connector
from app.adapters.upstream.connection import Connection
from app.adapters.upstream.origin import Origin
from app.gateway.ports import ConnectTimeout, Unreachable

KEEP_ALIVE_SECONDS = 4


class Pool:
    """Belongs to the loop that serves. `connect_seconds` are for name, connection and TLS together."""

    def __init__(self, origin: Origin, tls: ssl.SSLContext, connect_seconds: float) -> None:
        self._connector = Connector(origin.host, origin.port)
        self._tls = tls if origin.scheme == "https" else None
        self._server_name = None if self._tls is None else origin.host
        self._connect_seconds = connect_seconds
        self._resting: dict[Connection, float] = {}  # since when, the longest first
        self._all: set[Connection] = set()
        self._watch: asyncio.TimerHandle | None = None

    async def take(self) -> Connection:
        """One that is at rest, or a new one."""
        return self._resting.popitem()[0] if self._resting else await self.open()

    async def open(self) -> Connection:
        """A new one; ConnectTimeout or Unreachable if there is none to be had."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_seconds):
                connected = await self._connector.connect()
                made = partial(Connection, self._forget)
                _, connection = await loop.create_connection(
                    made, sock=connected, ssl=self._tls, server_hostname=self._server_name
                )
        except TimeoutError as error:
            raise ConnectTimeout from error
        except (OSError, UnicodeError) as error:
            raise Unreachable(type(error).__name__) from error
        self._all.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """It has nothing to say and nothing to hear any more."""
        loop = asyncio.get_running_loop()
        connection.rest()
        self._resting[connection] = loop.time()
        if self._watch is None:
            self._watch = loop.call_later(KEEP_ALIVE_SECONDS, self._end_those_at_rest_too_long)

    def close(self) -> None:
        """End all."""
        if self._watch is not None:
            self._watch.cancel()
        for connection in self._all:
            connection.abort()

    def _end_those_at_rest_too_long(self) -> None:
        self._watch = None
        loop = asyncio.get_running_loop()
        for connection, since in list(self._resting.items()):
            end = since + KEEP_ALIVE_SECONDS
            if end > loop.time():
                self._watch = loop.call_at(end, self._end_those_at_rest_too_long)
                return
            del self._resting[connection]
            connection.abort()

    def _forget(self, connection: Connection) -> None:
        self._resting.pop(connection, None)
        self._all.discard(connection)
