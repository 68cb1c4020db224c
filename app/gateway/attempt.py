"""One exchange with the provider: the form up as it arrives, the answer down.

    Whole     a success, complete and readable, held in memory (up to 32 MiB)
    Stream    a success that comes as server-sent events
    Failed    neither; it says whether the provider may have billed

The line between what may be repeated and what may have been billed is the release of our closing boundary: before it
every failure is harmless; after it only a complete error answer is (`verdict` knows the ones that may hide a success).
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from functools import partial

from app import errors
from app.config import TimeoutSettings
from app.errors import APIError, Header
from app.gateway import response_mapping
from app.gateway.deadline import Deadline
from app.gateway.ports import (
    ConnectionLost,
    ConnectTimeout,
    Spool,
    Spools,
    TransportFailure,
    Unreachable,
    UpstreamCall,
    UpstreamClient,
    UpstreamResponse,
)
from app.gateway.upstream_body import UpstreamBody
from app.operations import Operation
from app.policy.quota import Quota, QuotaShare
from app.units import Usage
from app.wire.headers import Headers, upstream_request_id
from app.wire.sse import Event, EventSplitter, EventTooLarge

MAX_HELD_BYTES = 32 * 1024 * 1024
MAX_ERROR_BYTES = 1024 * 1024
PARSED_AT_ONCE_BYTES = 256 * 1024
# What each answer may take without counting against those of other requests.
FREE_ANSWER_BYTES = 64 * 1024
# What a chunk takes beside its bytes: a provider may send them one by one.
CHUNK_OVERHEAD_BYTES = 64
MAX_LOGGED_BYTES = 1024
EVENTS_IN_A_ROW = 32
ERROR_BODY_SECONDS = 5

_WITHOUT_BODY = frozenset({204, 205})

_log = logging.getLogger("audio_gateway.relay")


@dataclass(frozen=True, slots=True)
class BufferedResponse:
    """A success that was read whole, as JSON or as text, and the usage that it states."""

    status: int
    headers: Headers
    answered_ms: int
    body: bytes
    is_json: bool
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class StreamingResponse:
    """`events` ends only if the stream ended as HTTP says it should; otherwise it raises Failed."""

    status: int
    headers: Headers
    answered_ms: int
    events: AsyncIterator[Event]


class UpstreamFailure(Exception):
    """The request came to nothing. `may_have_billed`: whether the provider may have done its work all the same."""

    def __init__(self, refusal: APIError, *, may_have_billed: bool, upstream_request_id: str | None = None) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal.without_retry() if may_have_billed else refusal
        self.may_have_billed = may_have_billed
        self.upstream_request_id = upstream_request_id


@dataclass(frozen=True, slots=True)
class UpstreamContext:
    """What all exchanges with one provider have in common."""

    provider: UpstreamClient
    framing: str
    timeouts: TimeoutSettings
    spools: Spools
    answers: Quota
    # One large answer is parsed at a time: its document takes several times its memory.
    parsing: asyncio.Lock = field(default_factory=asyncio.Lock)


class UpstreamAttempt:
    """A context that gives the answer to one form, or raises Failed. Nothing of it is open when it is left."""

    def __init__(
        self, line: UpstreamContext, form: UpstreamBody, operation: Operation, trace_headers: tuple[Header, ...] = ()
    ) -> None:
        self._line = line
        self._form = form
        self._operation = operation
        self._trace_headers = trace_headers
        self._deadline = Deadline(line.timeouts.total)
        self._held = QuotaShare(line.answers, form.caller, FREE_ANSWER_BYTES)
        self._spool: Spool | None = None
        self._post: UpstreamCall | None = None

    async def __aenter__(self) -> BufferedResponse | StreamingResponse:
        try:
            return await self._reply()
        except BaseException:
            await self._close()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _close(self) -> None:
        self._deadline.close()
        self._held.release()
        try:
            if self._post is not None:
                await self._post.aclose()
        finally:
            if self._spool is not None:
                self._spool.close()

    async def _reply(self) -> BufferedResponse | StreamingResponse:
        response = await self._response()
        answered_ms, self._form.answered = time.time_ns() // 1_000_000, time.monotonic()
        if not is_success(response.status):
            raise await self._refused(response)
        streamed = response_mapping.is_event_stream(response.status, response.headers)
        if streamed and not response_mapping.is_compressed(response.headers):
            return StreamingResponse(response.status, response.headers, answered_ms, self._events(response))
        return await self._whole(response, answered_ms)

    async def _response(self) -> UpstreamResponse:
        """The answer's head. A success counts as one only when the whole form has been taken."""
        form = self._form
        try:
            with self._deadline.within(None):
                length, body = await self._framed()
                form.asked = time.monotonic()
                self._post = self._line.provider.post(
                    self._operation.task, form.content_type, body, length, self._trace_headers
                )
                response = await self._post.response()
                if is_success(response.status):
                    if not form.ended.is_set():
                        await self._post.sent()
                    if not form.closing_released:
                        raise ConnectionLost
                return response
        except (TimeoutError, TransportFailure, APIError) as error:
            raise self._failed(error) from error

    async def _framed(self) -> tuple[int | None, AsyncGenerator[bytes, None]]:
        """The body and, where the provider wants one, its length, for which it is read to its end first."""
        form, deadline = self._form, self._deadline
        if self._line.framing == "chunked":
            return None, form.body(form.content(), deadline)
        self._spool = spool = self._line.spools.open(form.caller)
        deadline.suspend()
        async for chunk in form.content():
            await spool.write(chunk)
        deadline.allow(None)
        return spool.size + form.tail_bytes, form.body(spool.replay(), deadline)

    async def _refused(self, response: UpstreamResponse) -> UpstreamFailure:
        """What an answer other than 2xx comes to. Its body is waited for a short time: most of it is its status."""
        # One of its own: the form, which may still be on its way, moves the other.
        soon = Deadline(ERROR_BODY_SECONDS)
        try:
            body = await self._read(response, MAX_ERROR_BYTES, soon.within(None)) or b""
        except UpstreamFailure as failed:
            if failed.may_have_billed:
                raise
            body = b""
        except APIError:  # no room for it: its status counts
            body = b""
        finally:
            soon.close()
        redact = self._line.provider.redact
        refusal = response_mapping.of_error(response.status, response.headers, body, redact, time.time())
        if response_mapping.is_account_trouble(refusal):
            _log.error("the provider answers %d: the gateway's own key is refused or out of credit", response.status)
        elif refusal.code == "upstream_bad_response" or (refusal.code == "upstream_error" and refusal.retry is False):
            excerpt = b"" if response_mapping.is_compressed(response.headers) else redact(body)[:MAX_LOGGED_BYTES]
            _log.warning("the provider answers %d with no readable body: %r", response.status, excerpt)
        billed = self._form.closing_released and response_mapping.may_have_billed(response.status)
        return UpstreamFailure(
            refusal, may_have_billed=billed, upstream_request_id=upstream_request_id(response.headers)
        )

    async def _whole(self, response: UpstreamResponse, answered_ms: int) -> BufferedResponse:
        try:
            body = await self._read(response, MAX_HELD_BYTES, self._deadline.within(None))
            if body is None:
                raise errors.upstream_bad_response(f"it is longer than {MAX_HELD_BYTES} bytes")
            judge = partial(self._judged, response, body, self._form.text("response_format"))
            if len(body) <= PARSED_AT_ONCE_BYTES:
                shown, is_json, usage = judge()
            else:
                async with self._line.parsing:
                    shown, is_json, usage = await asyncio.to_thread(judge)
        except APIError as refusal:
            # Not a byte of it is logged: it may be a transcript.
            _log.warning("a success of the provider cannot be used: %s", refusal.message)
            raise _billed_failure(refusal, response) from refusal
        return BufferedResponse(response.status, response.headers, answered_ms, shown, is_json, usage)

    def _judged(
        self, response: UpstreamResponse, body: bytes, response_format: str
    ) -> tuple[bytes, bool, Usage | None]:
        """A success's body as the caller gets it, whether it is JSON, and the usage that it states; APIError if it
        is no success. Its document, which may take much memory, does not outlive this.
        """
        if response.status in _WITHOUT_BODY:
            raise errors.upstream_bad_response(f"{response.status} has no body")
        document = response_mapping.of_success(response.headers, body, response_format)
        shown = response_mapping.body_without_key(body, document, self._line.provider.redact)
        return shown, document is not None, self._operation.read_usage(document)

    async def _read(self, response: UpstreamResponse, limit: int, patience: Deadline) -> bytes | None:
        """The answer's body; None if it is longer than the limit. APIError 503 if the answers held leave no room."""
        chunks, size = [], 0
        try:
            with patience:
                async for chunk in response.body():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > limit:
                        return None
                    self._held.resize(size + CHUNK_OVERHEAD_BYTES * len(chunks))
        except (TimeoutError, TransportFailure) as error:
            raise self._failed(error) from error
        return b"".join(chunks)

    async def _events(self, response: UpstreamResponse) -> AsyncIterator[Event]:
        """Whole events as they come. The clock runs only while the provider's next bytes are awaited."""
        splitter, body, redact = EventSplitter(), aiter(response.body()), self._line.provider.redact
        unfinished = 0
        try:
            while True:
                with self._deadline.within(self._line.timeouts.sse_idle):
                    chunk = await anext(body, None)
                if chunk is None:
                    break
                unfinished += len(chunk)
                self._held.resize(unfinished)
                for count, event in enumerate(splitter.feed(chunk), 1):
                    unfinished -= len(event.raw)
                    if len(event.raw) <= PARSED_AT_ONCE_BYTES:
                        yield response_mapping.event_without_key(event, redact)
                    else:
                        yield await asyncio.to_thread(response_mapping.event_without_key, event, redact)
                    if count % EVENTS_IN_A_ROW == 0:
                        await asyncio.sleep(0)  # other connections' turn
        except APIError as refusal:
            raise _billed_failure(refusal, response) from refusal
        except EventTooLarge as error:
            raise _billed_failure(errors.upstream_bad_response("an event is too large"), response) from error
        except (TimeoutError, TransportFailure) as error:
            raise _billed_failure(errors.upstream_cut(), response) from error
        last = splitter.finish()
        if last is not None:
            yield response_mapping.event_without_key(last, redact)

    def _failed(self, error: Exception) -> UpstreamFailure:
        """What broke the exchange off, as the caller will be told; the form's own refusal comes first."""
        form = self._form
        if form.refusal is not None:
            return UpstreamFailure(form.refusal, may_have_billed=False)
        if isinstance(error, APIError):
            return UpstreamFailure(error, may_have_billed=False)
        if isinstance(error, Unreachable):
            return UpstreamFailure(errors.upstream_unreachable(), may_have_billed=False)
        late = isinstance(error, TimeoutError | ConnectTimeout)
        refusal = errors.upstream_timeout() if late else errors.upstream_error()
        return UpstreamFailure(refusal, may_have_billed=form.closing_released)


def is_success(status: int) -> bool:
    return 200 <= status < 300


def _billed_failure(refusal: APIError, response: UpstreamResponse) -> UpstreamFailure:
    return UpstreamFailure(refusal, may_have_billed=True, upstream_request_id=upstream_request_id(response.headers))
