"""What browsers need: CORS for the pages that may call, headers that keep a page to itself, HSTS under TLS.

Each is a layer that is not there at all unless the settings ask for it.
"""

import base64
import hashlib
import re

from fastapi.openapi.docs import get_swagger_ui_html
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import errors

ASSETS = "/static-offline-docs"

HSTS_SECONDS = 31_536_000

# What of an answer a page's script may read, besides what every page may.
EXPOSED = (
    "openai-processing-ms",
    "retry-after",
    "retry-after-ms",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-request-id",
    "x-should-retry",
)


class Cors(CORSMiddleware):
    """Starlette's, for keys in `Authorization` rather than cookies; a preflight is refused as all else is."""

    def __init__(self, application: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(
            application,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            # SDKs send headers of their own, which change with their versions.
            allow_headers=("*",),
            expose_headers=EXPOSED,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        return Response(
            errors.bad_request("This origin, or this method, is not among those that CORS allows here.").envelope(),
            status_code=response.status_code,
            media_type="application/json",
            headers={"vary": response.headers["vary"]},
        )


class StrictTransport:
    """Tells browsers to come over TLS alone, where they came over TLS."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("scheme") != "https":
            await self._application(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"strict-transport-security", b"max-age=%d" % HSTS_SECONDS)
                message["headers"] = [*message.get("headers", ()), policy]
            await send(message)

        await self._application(scope, receive, send_with_policy)


def documentation(path: str, document: str, title: str) -> Route:
    """The page that shows the OpenAPI document, with the policy that lets it run its own script and no other."""
    page = get_swagger_ui_html(
        openapi_url=document,
        title=title,
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
    )
    headers = page_headers(bytes(page.body))

    async def show(request: Request) -> Response:
        return HTMLResponse(page.body, headers=headers)

    return Route(path, show, methods=["GET"], include_in_schema=False)


def page_headers(page: bytes) -> dict[str, str]:
    """The headers of a page that loads from here alone; the scripts that stand in it are allowed by their SHA-256."""
    scripts = re.findall(rb"<script>(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts]
    policy = {
        "default-src": "'none'",
        "script-src": " ".join(["'self'", *(f"'sha256-{digest}'" for digest in digests)]),
        # Swagger UI sets styles on its elements.
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }
