"""From a name to a connected socket. Of several addresses the first to connect wins (RFC 8305, "Happy Eyeballs")."""

import asyncio
import socket
from collections import deque
from itertools import chain, zip_longest
from typing import Any

# RFC 8305, 8: the Connection Attempt Delay.
ATTEMPT_DELAY_SECONDS = 0.25

# What getaddrinfo tells of one address: family, type, protocol, canonical name, address.
Address = tuple[int, int, int, str, Any]


class Connector:
    """Opens sockets to one host. OSError or UnicodeError if it cannot be reached."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._lookup: asyncio.Future[list[Address]] | None = None

    async def dial(self) -> socket.socket:
        return await first_to_connect(deque(alternating(await self._addresses())))

    async def _addresses(self) -> list[Address]:
        """All who ask while a lookup runs share it: it cannot be cancelled, and takes one of the loop's few threads."""
        if self._lookup is None or self._lookup.done():
            asking = asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self._lookup = asyncio.ensure_future(asking)  # type: ignore[arg-type]  # it takes families for an enum
            self._lookup.add_done_callback(_seen)
        return await asyncio.shield(self._lookup)


def _seen(lookup: asyncio.Future[list[Address]]) -> None:
    """One whose callers have all given up is no error that asyncio must tell of."""
    if not lookup.cancelled():
        lookup.exception()


def alternating(addresses: list[Address]) -> list[Address]:
    """The families in turn, so that one which leads nowhere costs one delay (RFC 8305, 4)."""
    preferred = [each for each in addresses if each[0] == addresses[0][0]]
    other = [each for each in addresses if each[0] != addresses[0][0]]
    return [each for each in chain.from_iterable(zip_longest(preferred, other)) if each is not None]


async def first_to_connect(addresses: deque[Address]) -> socket.socket:
    """Each next address is tried when one has failed or none answers for a while; OSError when all have failed.

    Of the other sockets none stays open, also where two connect at the same moment or the caller gives up.
    """
    attempts: list[asyncio.Task[socket.socket]] = []
    trying: set[asyncio.Task[socket.socket]] = set()
    winner: asyncio.Task[socket.socket] | None = None
    failure: BaseException = OSError("the name has no address")
    try:
        while addresses or trying:
            if addresses:
                attempts.append(asyncio.create_task(_connected(addresses.popleft())))
                trying.add(attempts[-1])
            patience = ATTEMPT_DELAY_SECONDS if addresses else None
            done, trying = await asyncio.wait(trying, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                error = attempt.exception()
                if error is None:
                    winner = attempt
                    return attempt.result()
                failure = error
        raise failure
    finally:
        for attempt in attempts:
            if attempt is not winner:
                _discard(attempt)


def _discard(attempt: "asyncio.Task[socket.socket]") -> None:
    """Close what this attempt has opened, or will have."""
    if not attempt.done():
        attempt.cancel()
        attempt.add_done_callback(_discard)
    elif not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _connected(address: Address) -> socket.socket:
    family, kind, protocol, _, name = address
    made = socket.socket(family, kind, protocol)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(made, name)
    except BaseException:
        made.close()
        raise
    return made
