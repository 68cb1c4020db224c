"""`POST /v1/audio/transcriptions` and `/v1/audio/translations`: translates between ASGI and the gateway's pipeline.

These are plain ASGI endpoints, because a FastAPI route reads the whole form before any check can run.
"""

import time

from starlette.types import Receive, Scope, Send

from app.api.authentication import address_of
from app.api.error_response import send_error
from app.api.request_body import RequestBody
from app.api.response_sender import ResponseSender
from app.config import TimeoutSettings
from app.errors import APIError
from app.gateway.inbound_request import InboundRequest, UploadProgress
from app.gateway.pipeline import Pipeline
from app.gateway.settlement import StreamAborted
from app.operations import Operation
from app.wire.headers import Headers


class AudioEndpoint:
    """The endpoint of one operation."""

    def __init__(self, pipeline: Pipeline, operation: Operation, timeouts: TimeoutSettings) -> None:
        self._pipeline = pipeline
        self._operation = operation
        self._timeouts = timeouts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        progress = UploadProgress()
        body = RequestBody(receive, self._timeouts, progress)
        headers = Headers(scope["headers"])
        request_id, received_ms = scope["state"]["request_id"], time.time_ns() // 1_000_000
        request = InboundRequest(request_id, self._operation, headers, body, received_ms, address_of(scope), progress)
        response = ResponseSender(send)
        error = await self._handle(request, response)
        if error is not None and not response.started:
            await self._send_error(error, body, headers, send)

    async def _handle(self, request: InboundRequest, response: ResponseSender) -> APIError | None:
        """Runs the pipeline. Returns the error to send, or None if the pipeline has sent a response.

        The error carries no traceback: one would keep the request's memory while the rest of the body is drained.
        """
        try:
            await self._pipeline.handle(request, response.send_response)
        except APIError as error:
            error.__traceback__ = error.__cause__ = error.__context__ = None
            return error
        except StreamAborted:
            return None
        return None

    async def _send_error(self, error: APIError, body: RequestBody, headers: Headers, send: Send) -> None:
        """Sends the error, then drains the body if the caller still sends it.

        Without the drain the caller would see a reset connection instead of the error, and SDKs would send the whole
        file again.
        """
        if body.complete:
            await send_error(error, send)
            return
        awaits_continue = headers.text(b"expect").lower() == "100-continue" and not body.started
        await send_error(error, send, close=True, more_body=not awaits_continue)
        if not awaits_continue:
            await body.drain(self._timeouts.linger)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
