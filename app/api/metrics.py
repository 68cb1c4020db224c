"""`GET /metrics`: it names callers, so it needs a key, unless a setting opens it.

The address of the peer gives no access: behind a proxy on this machine every caller has that of the proxy.
"""

import asyncio
import hmac
from collections.abc import Callable, Sequence

from fastapi import APIRouter
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

from app import errors
from app.api.authentication import auth_failure_watch
from app.errors import APIError
from app.gateway import authentication
from app.gateway.auth_failures import AuthFailureLimiter
from app.wire.headers import Headers

Render = Callable[[], tuple[bytes, str]]


def metrics_router(
    render: Render, keys: Sequence[SecretStr], auth_failures: AuthFailureLimiter, *, open: bool
) -> APIRouter:
    """The route. `render` gives the text and its content type; it runs on a thread of its own."""
    router = APIRouter(tags=["system"])

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics(request: Request) -> Response:
        if not open:
            with auth_failure_watch(auth_failures, request.scope):
                _check_key(request, keys)
        text, content_type = await asyncio.to_thread(render)
        return Response(text, media_type=content_type)

    return router


def _check_key(request: Request, keys: Sequence[SecretStr]) -> None:
    """APIError 401 without one of these keys, also where there is none."""
    try:
        secret = authentication.secret_in(Headers(request.scope["headers"])).encode()
    except APIError as refusal:
        raise errors.invalid_metrics_key() from refusal
    if not any(hmac.compare_digest(secret, key.get_secret_value().encode()) for key in keys):
        raise errors.invalid_metrics_key()
