"""CORS: which web pages may call the gateway from a browser. Used only if the settings name origins."""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from app import errors

# The response headers that a page's script may read, besides those that every script may read.
EXPOSED_HEADERS = (
    "openai-processing-ms",
    "retry-after",
    "retry-after-ms",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-request-id",
    "x-should-retry",
)


class GatewayCORSMiddleware(CORSMiddleware):
    """Starlette's middleware, for keys in `Authorization`, not cookies. A refused preflight gets an error envelope."""

    def __init__(self, application: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(
            application,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            # SDKs send headers of their own, which change with their versions.
            allow_headers=("*",),
            # A browser sends this question if a public page calls a gateway in a private network.
            allow_private_network=True,
            expose_headers=EXPOSED_HEADERS,
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
