"""The application of the settings that hold now. A reload puts another in its place, whole, between two requests."""

import asyncio
from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send


class InFlightTracker:
    """An application that knows whether requests are in it."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application
        self._requests = 0
        self._empty = asyncio.Event()
        self._empty.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._requests += 1
        self._empty.clear()
        try:
            await self._application(scope, receive, send)
        finally:
            self._requests -= 1
            if not self._requests:
                self._empty.set()

    async def emptied(self) -> None:
        """Wait until no request is in it."""
        await self._empty.wait()


class SwappableApp:
    """Hands each request to the application of its beginning, which answers it to its end: no request sees two of them.

    `lifespan` is what begins and ends with the process, whichever application is the current one.
    """

    def __init__(self, application: ASGIApp, lifespan: ASGIApp) -> None:
        self.application = application
        self._lifespan = lifespan

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self._lifespan(scope, receive, send)
        return self.application(scope, receive, send)
