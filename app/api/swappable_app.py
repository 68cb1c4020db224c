"""The application of the current settings. A reload replaces it as a whole, between two requests."""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send


class SwappableApp:
    """Passes each request to the current `application`, which answers it completely even if a reload replaces it.

    `lifespan` starts and stops with the process and does not depend on the current application.
    """

    def __init__(self, application: ASGIApp, lifespan: ASGIApp) -> None:
        self.application = application
        self._lifespan = lifespan

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self._lifespan(scope, receive, send)
        return self.application(scope, receive, send)
