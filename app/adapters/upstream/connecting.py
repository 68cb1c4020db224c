"""From a host name to a connected socket. Of several addresses the first to connect wins (RFC 8305)."""

import asyncio
import socket
from typing import Any

import aiohappyeyeballs

# RFC 8305, 8: the Connection Attempt Delay.
ATTEMPT_DELAY_SECONDS = 0.25

# One result of getaddrinfo: family, type, protocol, canonical name, address.
Address = tuple[int, int, int, str, Any]


class Connector:
    """Connects sockets to one host and port."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._lookup: asyncio.Future[list[Address]] | None = None

    async def connect(self) -> socket.socket:
        """Returns a connected socket. Raises OSError or UnicodeError if the host cannot be reached."""
        return await first_to_connect(await self._addresses())

    async def _addresses(self) -> list[Address]:
        """Returns the host's addresses. Concurrent calls share one lookup: it cannot be cancelled, and it occupies one
        of the loop's few threads.
        """
        if self._lookup is None or self._lookup.done():
            lookup = asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self._lookup = asyncio.ensure_future(lookup)  # type: ignore[arg-type]  # typeshed has enums for integers
            self._lookup.add_done_callback(_retrieve_exception)
        return await asyncio.shield(self._lookup)


def _retrieve_exception(lookup: asyncio.Future[list[Address]]) -> None:
    """Keeps asyncio from logging a failed lookup whose callers have all been cancelled."""
    if not lookup.cancelled():
        lookup.exception()


async def first_to_connect(addresses: list[Address]) -> socket.socket:
    """Returns the first socket that connects and closes all others. Raises OSError if every address fails.

    Address families alternate. The next attempt starts when one fails, or after ATTEMPT_DELAY_SECONDS.
    """
    if not addresses:
        raise OSError("the name has no address")
    return await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=ATTEMPT_DELAY_SECONDS)
