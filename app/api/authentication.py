"""Who may ask: the caller of a route other than the audio ones, as a FastAPI dependency."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager

from starlette.requests import Request
from starlette.types import Scope

from app.gateway import authentication
from app.gateway.auth_failures import AuthFailureLimiter
from app.gateway.authentication import KeyDirectory
from app.gateway.caller import Caller
from app.wire.headers import Headers

Identify = Callable[[Request], Awaitable[Caller]]


def identify_caller(directory: KeyDirectory, auth_failures: AuthFailureLimiter) -> Identify:
    """A dependency that gives the Caller, or refuses as every other route does."""

    async def identify(request: Request) -> Caller:
        with auth_failure_watch(auth_failures, request.scope):
            return await authentication.identify(
                Headers(request.scope["headers"]), directory, time.time_ns() // 1_000_000
            )

    return identify


def auth_failure_watch(auth_failures: AuthFailureLimiter, scope: Scope) -> AbstractContextManager[None]:
    """Around the look at the key of this request."""
    return auth_failures.watching(scope["state"]["request_id"], address_of(scope), time.monotonic_ns())


def address_of(scope: Scope) -> str:
    """The peer's address, or what its proxy says where the server believes it; empty on a socket that has none."""
    client = scope.get("client")
    return client[0] if client else ""
