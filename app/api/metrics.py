"""`GET /metrics`. Metrics name callers, so the route needs a key, unless the setting `metrics.open` is true.

The peer's address never grants access: behind a local proxy every caller has the address of the proxy.
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
    """The route. `render` returns the text and its content type, and runs in a thread."""
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
    """Raises APIError 401 unless the request carries one of these keys; always, if there are none."""
    try:
        secret = authentication.secret_in(Headers(request.scope["headers"])).encode()
    except APIError as error:
        raise errors.invalid_metrics_key() from error
    if not any(hmac.compare_digest(secret, key.get_secret_value().encode()) for key in keys):
        raise errors.invalid_metrics_key()
