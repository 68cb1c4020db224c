"""`GET /metrics`: for this machine and the admin key, as it names callers, unless a setting opens it to everybody."""

import asyncio
import hmac
import ipaddress
from collections.abc import Callable

from fastapi import APIRouter
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

from app import errors
from app.api.access import watching
from app.gateway import auth
from app.gateway.throttle import Throttle
from app.wire.headers import Headers

Render = Callable[[], tuple[bytes, str]]

# A proxy on this machine sets one of them for callers from anywhere.
_FORWARDING = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


def metrics_router(render: Render, admin_key: SecretStr | None, throttle: Throttle, *, open: bool) -> APIRouter:
    """The route. `render` gives the text and its content type; it runs on a thread of its own."""
    router = APIRouter(tags=["system"])

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics(request: Request) -> Response:
        if not (open or is_local(request)):
            with watching(throttle, request.scope):
                _check_admin(request, admin_key)
        text, content_type = await asyncio.to_thread(render)
        return Response(text, media_type=content_type)

    return router


def is_local(request: Request) -> bool:
    """Whether it comes from a program of this machine, and not through a proxy there."""
    if request.client is None or any(name in request.headers for name in _FORWARDING):
        return False
    try:
        address = ipaddress.ip_address(request.client.host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _check_admin(request: Request, admin_key: SecretStr | None) -> None:
    """Refusal 401 without the admin key, also where there is none."""
    secret = auth.secret_in(Headers(request.scope["headers"]))
    if admin_key is None or not hmac.compare_digest(secret.encode(), admin_key.get_secret_value().encode()):
        raise errors.invalid_api_key("not the admin key")
