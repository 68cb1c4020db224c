"""Tracks the requests in flight, so that a reload closes an old application only after its last response."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send


class InFlightTracker:
    """Middleware that counts the requests in its application."""

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
        """Waits until no request is in flight."""
        await self._empty.wait()
