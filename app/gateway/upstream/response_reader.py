"""Reading the upstream's response: whole, or event by event, within the memory that responses may take."""

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial

from app import errors
from app.errors import APIError
from app.gateway.deadline import Deadline
from app.gateway.ports import TransportFailure, UpstreamResponse
from app.gateway.upstream import response_mapping
from app.gateway.upstream.context import UpstreamContext
from app.gateway.upstream.result import BufferedResponse, billed_failure
from app.operations import Operation
from app.policy.quota import QuotaShare
from app.units import Usage
from app.wire.sse import Event, EventSplitter, EventTooLarge

MAX_BUFFERED_BYTES = 32 * 1024 * 1024
PARSED_AT_ONCE_BYTES = 256 * 1024
# What each response may take without counting against those of other requests.
FREE_RESPONSE_BYTES = 64 * 1024
# What a chunk takes beside its bytes: an upstream may send them one by one.
CHUNK_OVERHEAD_BYTES = 64
EVENTS_IN_A_ROW = 32

_WITHOUT_BODY = frozenset({204, 205})

_log = logging.getLogger("audio_gateway.relay")


class ResponseReader:
    """Reads the response of one attempt. What it holds counts against the caller's share; `close` frees it."""

    def __init__(self, context: UpstreamContext, operation: Operation, caller: str, deadline: Deadline) -> None:
        self._context = context
        self._operation = operation
        self._deadline = deadline
        self._memory = QuotaShare(context.responses, caller, FREE_RESPONSE_BYTES)

    def close(self) -> None:
        self._memory.release()

    async def body(self, response: UpstreamResponse, limit: int, deadline: Deadline) -> bytes | None:
        """Returns the response's body; None if it is longer than the limit.

        Raises APIError 503 if the memory for responses is full, else TimeoutError or TransportFailure.
        """
        chunks, size = [], 0
        with deadline:
            async for chunk in response.body():
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    return None
                self._memory.resize(size + CHUNK_OVERHEAD_BYTES * len(chunks))
        return b"".join(chunks)

    async def buffered(self, response: UpstreamResponse, answered_ms: int, response_format: str) -> BufferedResponse:
        """Returns a whole success; UpstreamFailure if it is no transcript, TimeoutError or TransportFailure."""
        try:
            body = await self.body(response, MAX_BUFFERED_BYTES, self._deadline.within(None))
            if body is None:
                raise errors.upstream_bad_response(f"it is longer than {MAX_BUFFERED_BYTES} bytes")
            interpret = partial(self._interpret, response, body, response_format)
            if len(body) <= PARSED_AT_ONCE_BYTES:
                clean_body, is_json, usage = interpret()
            else:
                async with self._context.parsing:
                    clean_body, is_json, usage = await asyncio.to_thread(interpret)
        except APIError as error:
            # The log gets no byte of the body: it may be a transcript.
            _log.warning("a success of the provider cannot be used: %s", error.message)
            raise billed_failure(error, response) from error
        return BufferedResponse(response.status, response.headers, answered_ms, clean_body, is_json, usage)

    def _interpret(
        self, response: UpstreamResponse, body: bytes, response_format: str
    ) -> tuple[bytes, bool, Usage | None]:
        """Returns the body for the caller, whether it is JSON, and the usage that it states; APIError if it is no
        success. The parsed document may take much memory and is freed on return.
        """
        if response.status in _WITHOUT_BODY:
            raise errors.upstream_bad_response(f"{response.status} has no body")
        document = response_mapping.of_success(response.headers, body, response_format)
        clean_body = response_mapping.body_without_key(body, document, self._context.client.redact)
        return clean_body, document is not None, self._operation.read_usage(document)

    async def events(self, response: UpstreamResponse) -> AsyncIterator[Event]:
        """Yields whole events as they arrive. The deadline runs only while the upstream's next bytes are awaited."""
        splitter, body, redact = EventSplitter(), aiter(response.body()), self._context.client.redact
        unfinished = 0
        try:
            while True:
                with self._deadline.within(self._context.timeouts.sse_idle):
                    chunk = await anext(body, None)
                if chunk is None:
                    break
                unfinished += len(chunk)
                self._memory.resize(unfinished)
                for count, event in enumerate(splitter.feed(chunk), 1):
                    unfinished -= len(event.raw)
                    if len(event.raw) <= PARSED_AT_ONCE_BYTES:
                        yield response_mapping.event_without_key(event, redact)
                    else:
                        yield await asyncio.to_thread(response_mapping.event_without_key, event, redact)
                    if count % EVENTS_IN_A_ROW == 0:
                        await asyncio.sleep(0)  # lets other connections run
        except APIError as error:
            raise billed_failure(error, response) from error
        except EventTooLarge as error:
            raise billed_failure(errors.upstream_bad_response("an event is too large"), response) from error
        except (TimeoutError, TransportFailure) as error:
            raise billed_failure(errors.upstream_cut(), response) from error
        last = splitter.finish()
        if last is not None:
            yield response_mapping.event_without_key(last, redact)
