"""The body of a request, read from ASGI on demand and with a minimum rate."""

import asyncio
import time
from typing import Self

from starlette.types import Message, Receive

from app import errors
from app.config import TimeoutSettings
from app.errors import APIError
from app.gateway.deadline import Deadline
from app.gateway.inbound_request import UploadProgress
from app.policy.upload_rate import UploadRate


class RequestBody:
    """The caller's body as an iterator of bytes. It reads on demand: an early error costs the caller no upload."""

    def __init__(self, receive: Receive, timeouts: TimeoutSettings, progress: UploadProgress) -> None:
        self._receive = receive
        self._timeouts = timeouts
        self._progress = progress
        self._rate = UploadRate(timeouts.min_upload_rate, timeouts.body_idle)
        self._deadline = Deadline()
        self.started = False
        self.complete = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next bytes; APIError if the caller has disconnected or is too slow."""
        while not self.complete:
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise errors.caller_gone()
            if not message.get("more_body", False):
                self.complete = self._progress.complete = True
                self._deadline.close()
            body: bytes = message.get("body", b"")
            if body:
                self._progress.received += len(body)
                self._rate.received(len(body))
                return body
        raise StopAsyncIteration

    async def drain(self, seconds: float) -> None:
        """Reads and drops the rest of the body, for at most this many seconds."""
        try:
            async with asyncio.timeout(seconds):
                async for _ in self:
                    pass
        except (TimeoutError, APIError):
            return

    async def _next(self) -> Message:
        """The next ASGI message; APIError if it takes longer than the minimum rate allows."""
        self.started = True
        waiting_since = time.monotonic()
        try:
            with self._deadline.within(self._rate.seconds):
                return await self._receive()
        except TimeoutError as error:
            idle, rate = self._timeouts.body_idle, self._timeouts.min_upload_rate
            raise errors.request_timeout(f"less than {rate:g} bytes a second, or nothing for {idle:g} s") from error
        finally:
            waited = time.monotonic() - waiting_since
            self._progress.waited += waited
            self._rate.waited(waited)
