"""One try at the upstream: the form goes up as it arrives, the response comes down.

The release of our closing boundary divides what may be repeated from what may have been billed. Before it, every
failure is harmless. After it, only a complete error response is harmless, and `response_mapping` knows the statuses
that may hide a success.

A request has one attempt: the gateway does not retry, and there is no fallback to another upstream.
"""

import logging
import time
from collections.abc import AsyncGenerator

from app import errors
from app.errors import APIError, Header
from app.gateway.deadline import Deadline
from app.gateway.ports import (
    ConnectionLost,
    ConnectTimeout,
    Spool,
    TransportFailure,
    Unreachable,
    UpstreamCall,
    UpstreamResponse,
)
from app.gateway.upstream import response_mapping
from app.gateway.upstream.body import UpstreamBody
from app.gateway.upstream.context import UpstreamContext
from app.gateway.upstream.response_reader import ResponseReader
from app.gateway.upstream.result import BufferedResponse, StreamingResponse, UpstreamFailure
from app.operations import Operation
from app.wire.headers import upstream_request_id

MAX_ERROR_BYTES = 1024 * 1024
MAX_LOGGED_BYTES = 1024
ERROR_BODY_SECONDS = 5

_log = logging.getLogger("audio_gateway.relay")


class UpstreamAttempt:
    """A context that sends one body and enters with the response; UpstreamFailure if there is none for the caller.

    `trace_headers` go among the request's headers. On exit nothing of the attempt stays open.
    """

    def __init__(
        self,
        context: UpstreamContext,
        body: UpstreamBody,
        operation: Operation,
        trace_headers: tuple[Header, ...] = (),
    ) -> None:
        self._context = context
        self._body = body
        self._operation = operation
        self._trace_headers = trace_headers
        self._deadline = Deadline(context.timeouts.total)
        self._reader = ResponseReader(context, operation, body.caller, self._deadline)
        self._spool: Spool | None = None
        self._call: UpstreamCall | None = None

    async def __aenter__(self) -> BufferedResponse | StreamingResponse:
        try:
            return await self._result()
        except BaseException:
            await self._close()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _close(self) -> None:
        self._deadline.close()
        self._reader.close()
        try:
            if self._call is not None:
                await self._call.aclose()
        finally:
            if self._spool is not None:
                self._spool.close()

    async def _result(self) -> BufferedResponse | StreamingResponse:
        response = await self._response()
        answered_ms, self._body.record.responded = time.time_ns() // 1_000_000, time.monotonic()
        if not is_success(response.status):
            raise await self._error_response(response)
        is_stream = response_mapping.is_event_stream(response.status, response.headers)
        if is_stream and not response_mapping.is_compressed(response.headers):
            return StreamingResponse(response.status, response.headers, answered_ms, self._reader.events(response))
        try:
            return await self._reader.buffered(response, answered_ms, self._body.text("response_format"))
        except (TimeoutError, TransportFailure) as error:
            raise self._failure(error) from error

    async def _response(self) -> UpstreamResponse:
        """Sends the body and returns the head of the response.

        A success counts as one only when the upstream has taken the whole body.
        """
        body = self._body
        try:
            with self._deadline.within(None):
                length, content = await self._framed()
                body.record.requested = time.monotonic()
                self._call = self._context.client.post(
                    self._operation.task, body.content_type, content, length, self._trace_headers
                )
                response = await self._call.response()
                if is_success(response.status):
                    if not body.ended.is_set():
                        await self._call.sent()
                    if not body.closing_released:
                        raise ConnectionLost
                return response
        except (TimeoutError, TransportFailure, APIError) as error:
            raise self._failure(error) from error

    async def _framed(self) -> tuple[int | None, AsyncGenerator[bytes, None]]:
        """Returns the body, and its length if the upstream needs one: the content is then read to its end first."""
        body, deadline = self._body, self._deadline
        if self._context.framing == "chunked":
            return None, body.stream(body.content(), deadline)
        self._spool = spool = self._context.spools.open(body.caller)
        deadline.suspend()
        async for chunk in body.content():
            await spool.write(chunk)
        deadline.allow(None)
        return spool.size + body.tail_bytes, body.stream(spool.replay(), deadline)

    async def _error_response(self, response: UpstreamResponse) -> UpstreamFailure:
        """Returns the failure for a response other than 2xx. Its body is awaited briefly, because the status says most.

        The wait has a deadline of its own: the body that is still being sent moves the other one.
        """
        deadline = Deadline(ERROR_BODY_SECONDS)
        try:
            body = await self._reader.body(response, MAX_ERROR_BYTES, deadline.within(None)) or b""
        except (TimeoutError, TransportFailure) as error:
            failure = self._failure(error)
            if failure.may_have_billed:
                raise failure from error
            body = b""
        except APIError:  # no memory for the body; the status counts
            body = b""
        finally:
            deadline.close()
        redact = self._context.client.redact
        mapped = response_mapping.of_error(response.status, response.headers, body, redact, time.time())
        if response_mapping.is_account_trouble(mapped):
            _log.error("the provider answers %d: the gateway's own key is refused or out of credit", response.status)
        elif mapped.code == "upstream_bad_response" or (mapped.code == "upstream_error" and mapped.retry is False):
            excerpt = b"" if response_mapping.is_compressed(response.headers) else redact(body)[:MAX_LOGGED_BYTES]
            _log.warning("the provider answers %d with no readable body: %r", response.status, excerpt)
        billed = self._body.closing_released and response_mapping.may_have_billed(response.status)
        return UpstreamFailure(
            mapped, may_have_billed=billed, upstream_request_id=upstream_request_id(response.headers)
        )

    def _failure(self, error: Exception) -> UpstreamFailure:
        """Returns what the caller gets for an attempt that broke off. An error of the caller's own form comes first."""
        body = self._body
        if body.error is not None:
            return UpstreamFailure(body.error, may_have_billed=False)
        if isinstance(error, APIError):
            return UpstreamFailure(error, may_have_billed=False)
        if isinstance(error, Unreachable):
            return UpstreamFailure(errors.upstream_unreachable(), may_have_billed=False)
        timed_out = isinstance(error, TimeoutError | ConnectTimeout)
        mapped = errors.upstream_timeout() if timed_out else errors.upstream_error()
        return UpstreamFailure(mapped, may_have_billed=body.closing_released)


def is_success(status: int) -> bool:
    return 200 <= status < 300
