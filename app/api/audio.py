"""`POST /v1/audio/transcriptions` and `/v1/audio/translations`: from ASGI to a Call, from an Answer to ASGI.

A plain ASGI endpoint rather than a FastAPI route: those read the whole form before any check can run.
"""

import asyncio
import time
from typing import Self

from starlette.types import Message, Receive, Scope, Send

from app import errors
from app.api.authentication import address_of
from app.api.error_response import send_error
from app.config import TimeoutSettings
from app.errors import APIError
from app.gateway.deadline import Deadline
from app.gateway.inbound_request import InboundRequest, UploadProgress
from app.gateway.pipeline import Pipeline
from app.gateway.settlement import CallerResponse, StreamAborted
from app.operations import Operation
from app.policy.upload_rate import UploadRate
from app.wire.headers import Headers


class AudioEndpoint:
    """One operation's endpoint."""

    def __init__(self, pipeline: Pipeline, operation: Operation, timeouts: TimeoutSettings) -> None:
        self._pipeline = pipeline
        self._operation = operation
        self._timeouts = timeouts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        progress = UploadProgress()
        body = RequestBody(receive, self._timeouts, progress)
        headers = Headers(scope["headers"])
        request_id, received_ms = scope["state"]["request_id"], time.time_ns() // 1_000_000
        call = InboundRequest(request_id, self._operation, headers, body, received_ms, address_of(scope), progress)
        caller = CallerSide(send)
        refusal = await self._handled(call, caller)
        if refusal is not None and not caller.answered:
            await self._refuse(refusal, body, headers, send)

    async def _handled(self, call: InboundRequest, caller: "CallerSide") -> APIError | None:
        """The refusal of this request, None if it was answered. What the request held in memory is free by then: the
        traceback would keep all of it for as long as the rest of the body is dropped.
        """
        try:
            await self._pipeline.handle(call, caller.send_answer)
        except APIError as refusal:
            refusal.__traceback__ = refusal.__cause__ = refusal.__context__ = None
            return refusal
        except StreamAborted:
            return None
        return None

    async def _refuse(self, refusal: APIError, body: "RequestBody", headers: Headers, send: Send) -> None:
        """Send the refusal. Of a body that is still coming the rest is read and dropped, so that the caller, who may
        be writing, gets to read the answer instead of a reset, on which SDKs would send the whole file again.
        """
        if body.complete:
            await send_error(refusal, send)
            return
        waits_to_send = headers.text(b"expect").lower() == "100-continue" and not body.begun
        await send_error(refusal, send, close=True, more_body=not waits_to_send)
        if not waits_to_send:
            await body.drain(self._timeouts.linger)
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class RequestBody:
    """The caller's body, read only when it is asked for: an early refusal then costs the caller nothing."""

    def __init__(self, receive: Receive, timeouts: TimeoutSettings, progress: UploadProgress) -> None:
        self._receive = receive
        self._timeouts = timeouts
        self._arrival = progress
        self._rate = UploadRate(timeouts.min_upload_rate, timeouts.body_idle)
        self._deadline = Deadline()
        self.begun = False
        self.complete = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next bytes; APIError if the caller has gone or is too slow."""
        while not self.complete:
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise errors.caller_gone()
            if not message.get("more_body", False):
                self.complete = self._arrival.complete = True
                self._deadline.close()
            body: bytes = message.get("body", b"")
            if body:
                self._arrival.received += len(body)
                self._rate.received(len(body))
                return body
        raise StopAsyncIteration

    async def drain(self, seconds: float) -> None:
        """Read and drop what still comes, for so long at the most."""
        try:
            async with asyncio.timeout(seconds):
                async for _ in self:
                    pass
        except (TimeoutError, APIError):
            return

    async def _next(self) -> Message:
        """The next message; APIError if it takes longer than the rate of the upload so far allows."""
        self.begun = True
        began = time.monotonic()
        try:
            with self._deadline.within(self._rate.seconds):
                return await self._receive()
        except TimeoutError as error:
            idle, rate = self._timeouts.body_idle, self._timeouts.min_upload_rate
            raise errors.request_timeout(f"less than {rate:g} bytes a second, or nothing for {idle:g} s") from error
        finally:
            waited = time.monotonic() - began
            self._arrival.waited += waited
            self._rate.waited(waited)


class CallerSide:
    """Sends an answer. A caller who left or does not read must not stop the reading of usage, so nothing here raises
    for his sake: what cannot be delivered is dropped. How long one may not read is the connection's own matter.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._reading = True
        self.answered = False

    async def send_answer(self, answer: CallerResponse) -> None:
        headers = list(answer.headers)
        if isinstance(answer.body, bytes):
            headers.append((b"content-length", b"%d" % len(answer.body)))
            await self._start(answer.status, headers)
            await self._body(answer.body, more_body=False)
            return
        headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
        await self._start(answer.status, headers)
        async for chunk in answer.body:
            await self._body(chunk, more_body=True)
        await self._body(b"", more_body=False)

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.answered = True
        await self._deliver({"type": "http.response.start", "status": status, "headers": headers})

    async def _body(self, body: bytes, *, more_body: bool) -> None:
        await self._deliver({"type": "http.response.body", "body": body, "more_body": more_body})

    async def _deliver(self, message: Message) -> None:
        if not self._reading:
            return
        try:
            await self._send(message)
        except OSError:
            self._reading = False
