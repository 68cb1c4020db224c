"""Who may ask: the caller of a route other than the audio ones, as a FastAPI dependency."""

import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request

from app.gateway import auth
from app.gateway.auth import Caller, KeyDirectory
from app.wire.headers import Headers

Identify = Callable[[Request], Awaitable[Caller]]


def identified(directory: KeyDirectory) -> Identify:
    """A dependency that gives the Caller, or refuses as every other route does."""

    async def identify(request: Request) -> Caller:
        return await auth.identify(Headers(request.scope["headers"]), directory, time.time_ns() // 1_000_000)

    return identify
