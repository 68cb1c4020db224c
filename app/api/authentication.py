"""Authentication of the FastAPI routes: the caller whose key a request carries, as a dependency."""

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
    """A dependency that returns the Caller; it raises APIError as the audio endpoints do."""

    async def identify(request: Request) -> Caller:
        with auth_failure_watch(auth_failures, request.scope):
            return await authentication.identify(
                Headers(request.scope["headers"]), directory, time.time_ns() // 1_000_000
            )

    return identify


def auth_failure_watch(auth_failures: AuthFailureLimiter, scope: Scope) -> AbstractContextManager[None]:
    """A context for the check of a key: it counts failures of the request's address."""
    return auth_failures.watching(scope["state"]["request_id"], address_of(scope), time.monotonic_ns())


def address_of(scope: Scope) -> str:
    """The address of the caller, empty on a Unix socket.

    It is the peer's address, or the one that a trusted proxy forwards (`server.forwarded_allow_ips`).
    """
    client = scope.get("client")
    return client[0] if client else ""
