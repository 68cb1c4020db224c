"""What browsers need: CORS for the pages that may call, headers that keep a page to itself, HSTS under TLS.

Each is a layer that is not there at all unless the settings ask for it.
"""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import errors

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
            # A page of the internet asks for this when the gateway is in a private network.
            allow_private_network=True,
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
