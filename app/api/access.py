"""Who may ask: the caller of a route other than the audio ones, as a FastAPI dependency."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager

from starlette.requests import Request
from starlette.types import Scope

from app.gateway import auth
from app.gateway.auth import Caller, KeyDirectory
from app.gateway.throttle import Throttle
from app.wire.headers import Headers

Identify = Callable[[Request], Awaitable[Caller]]


def identified(directory: KeyDirectory, throttle: Throttle) -> Identify:
    """A dependency that gives the Caller, or refuses as every other route does."""

    async def identify(request: Request) -> Caller:
        with watching(throttle, request.scope):
            return await auth.identify(Headers(request.scope["headers"]), directory, time.time_ns() // 1_000_000)

    return identify


def watching(throttle: Throttle, scope: Scope) -> AbstractContextManager[None]:
    """Around the look at the key of this request."""
    return throttle.watching(scope["state"]["request_id"], address_of(scope), time.monotonic_ns())


def address_of(scope: Scope) -> str:
    """The peer's address, or what its proxy says where the server believes it; empty on a socket that has none."""
    client = scope.get("client")
    return client[0] if client else ""
