"""Relaying: the body up as it arrives, the answer down.

    Whole     a success, complete and readable, held in memory (up to 32 MiB)
    Stream    a success that comes as server-sent events
    Failed    neither; it says whether the provider may have billed

The line between what may be repeated and what may have been billed is the release of our closing boundary: before it
every failure is harmless; after it only a complete error answer is (`verdict` knows the ones that may hide a success).
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from app import errors
from app.config import Task, TimeoutSettings
from app.errors import Header, Refusal
from app.gateway import verdict
from app.gateway.admission import Permit
from app.gateway.deadline import Deadline
from app.gateway.intake import Spools, Upload
from app.gateway.outbound import Allow, OutboundForm
from app.gateway.provider import Broken, ConnectTimeout, Provider, Response, TransportFailure, Unreachable
from app.wire.headers import Headers, upstream_request_id
from app.wire.sse import Event, EventSplitter, EventTooLarge

MAX_HELD_BYTES = 32 * 1024 * 1024
MAX_ERROR_BYTES = 1024 * 1024
PARSED_AT_ONCE_BYTES = 256 * 1024
MAX_LOGGED_BYTES = 1024
ERROR_BODY_SECONDS = 5
KEY_TROUBLE_SECONDS = 60

_log = logging.getLogger("audio_gateway.relay")


@dataclass(frozen=True, slots=True)
class Whole:
    """A success that was read whole; `document` is its JSON, None for a text."""

    status: int
    headers: Headers
    answered_ms: int
    body: bytes
    document: object


@dataclass(frozen=True, slots=True)
class Stream:
    """`events` ends only if the stream ended as HTTP says it should; otherwise it raises Failed."""

    status: int
    headers: Headers
    answered_ms: int
    events: AsyncIterator[Event]


class Failed(Exception):
    """The request came to nothing. `may_have_billed`: whether the provider may have done its work all the same."""

    def __init__(self, refusal: Refusal, *, may_have_billed: bool, upstream_request_id: str | None = None) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal.without_retry() if may_have_billed else refusal
        self.may_have_billed = may_have_billed
        self.upstream_request_id = upstream_request_id


class Relay:
    """The stage: which provider, with how much patience, and what is known of its key."""

    def __init__(self, provider: Provider, framing: str, timeouts: TimeoutSettings, spools: Spools) -> None:
        self._provider = provider
        self._framing = framing
        self._timeouts = timeouts
        self._spools = spools
        self._key_trouble_until = 0.0

    def form(self, upload: Upload, permit: Permit) -> OutboundForm:
        return OutboundForm(upload, permit, self._timeouts)

    @property
    def key_in_trouble(self) -> bool:
        """Whether the provider refused our key, until its next success or for 60 s."""
        return time.monotonic() < self._key_trouble_until

    @asynccontextmanager
    async def exchange(
        self, form: OutboundForm, task: Task, onward: tuple[Header, ...] = ()
    ) -> AsyncIterator[Whole | Stream]:
        """Send the form, and `onward` among its headers, and give the answer; Failed if none that can be used comes."""
        deadline = Deadline(self._timeouts.total)
        async with AsyncExitStack() as stack:
            stack.callback(deadline.close)
            response = await self._open(form, task, onward, deadline, stack)
            answered_ms, form.answered = time.time_ns() // 1_000_000, time.monotonic()
            if not is_success(response.status):
                raise await self._refused(form, response)
            self._key_trouble_until = 0.0
            if verdict.is_event_stream(response.headers) and not verdict.is_compressed(response.headers):
                events = self._events(form, response, deadline)
                yield Stream(response.status, response.headers, answered_ms, events)
            else:
                yield await self._whole(form, response, answered_ms, deadline)

    async def _open(
        self, form: OutboundForm, task: Task, onward: tuple[Header, ...], deadline: Deadline, stack: AsyncExitStack
    ) -> Response:
        """The answer's head. A success counts as one only when the whole form has been taken."""
        try:
            with deadline.within(None):
                length, body = await self._framed(form, deadline.allow, stack)
                form.asked = time.monotonic()
                response = await stack.enter_async_context(
                    self._provider.post(task, form.content_type, body, length, onward)
                )
                if is_success(response.status):
                    await form.ended.wait()
                    if not form.closing_released:
                        raise Broken
                return response
        except (TimeoutError, TransportFailure, Refusal) as error:
            raise _failed(form, error) from error

    async def _framed(
        self, form: OutboundForm, allow: Allow, stack: AsyncExitStack
    ) -> tuple[int | None, AsyncIterator[bytes]]:
        """The body and, where the provider wants one, its length, for which it is read to its end first."""
        if self._framing == "chunked":
            return None, form.body(form.content(), allow)
        spool = self._spools.open()
        stack.callback(spool.close)
        async for chunk in form.content():
            await spool.write(chunk)
        return spool.size + form.tail_bytes, form.body(spool.replay(), allow)

    async def _refused(self, form: OutboundForm, response: Response) -> Failed:
        """What an answer other than 2xx comes to. Its body is waited for a short time: most of it is its status."""
        if verdict.is_key_trouble(response.status):
            self._key_trouble_until = time.monotonic() + KEY_TROUBLE_SECONDS
            _log.error("the provider answers %d: the gateway's own key is refused or out of credit", response.status)
        # One of its own: the form, which may still be on its way, moves the other.
        soon = Deadline(ERROR_BODY_SECONDS)
        try:
            body = await self._read(form, response, MAX_ERROR_BYTES, soon.within(None)) or b""
        except Failed as failed:
            if failed.may_have_billed:
                raise
            body = b""
        finally:
            soon.close()
        refusal = verdict.of_error(response.status, response.headers, body, self._provider.redact, time.time())
        if refusal.code == "upstream_bad_response":
            excerpt = b"" if verdict.is_compressed(response.headers) else self._provider.redact(body)[:MAX_LOGGED_BYTES]
            _log.warning("the provider answers %d with no readable body: %r", response.status, excerpt)
        billed = form.closing_released and verdict.may_have_billed(response.status)
        return Failed(refusal, may_have_billed=billed, upstream_request_id=upstream_request_id(response.headers))

    async def _whole(self, form: OutboundForm, response: Response, answered_ms: int, deadline: Deadline) -> Whole:
        body = await self._read(form, response, MAX_HELD_BYTES, deadline.within(None))
        try:
            if body is None:
                raise errors.upstream_bad_response(f"it is longer than {MAX_HELD_BYTES} bytes")
            judge = partial(verdict.of_success, response.headers, body, form.text("response_format"))
            document = judge() if len(body) <= PARSED_AT_ONCE_BYTES else await asyncio.to_thread(judge)
        except Refusal as refusal:
            # Not a byte of it is logged: it may be a transcript.
            _log.warning("a success of the provider cannot be used: %s", refusal.message)
            raise _useless(refusal, response) from refusal
        return Whole(response.status, response.headers, answered_ms, body, document)

    async def _read(self, form: OutboundForm, response: Response, limit: int, patience: Deadline) -> bytes | None:
        """The answer's body; None if it is longer than the limit."""
        chunks, size = [], 0
        try:
            with patience:
                async for chunk in response.body():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > limit:
                        return None
        except (TimeoutError, TransportFailure) as error:
            raise _failed(form, error) from error
        return b"".join(chunks)

    async def _events(self, form: OutboundForm, response: Response, deadline: Deadline) -> AsyncIterator[Event]:
        """Whole events as they come. The clock runs only while the provider's next bytes are awaited."""
        splitter, body = EventSplitter(), aiter(response.body())
        try:
            while True:
                with deadline.within(self._timeouts.sse_idle):
                    chunk = await anext(body, None)
                if chunk is None:
                    break
                for event in splitter.feed(chunk):
                    yield self._redacted(event)
        except EventTooLarge as error:
            raise _useless(errors.upstream_bad_response("an event is too large"), response) from error
        except (TimeoutError, TransportFailure) as error:
            raise _cut(response) from error
        last = splitter.finish()
        if last is not None:
            yield self._redacted(last)

    def _redacted(self, event: Event) -> Event:
        """An error that the provider streams may echo our key; every other event is passed on untouched."""
        return verdict.event_without_key(event, self._provider.redact) if b"error" in event.raw else event


def is_success(status: int) -> bool:
    return 200 <= status < 300


def _failed(form: OutboundForm, error: Exception) -> Failed:
    """What broke the exchange off, as the caller will be told; the form's own refusal comes first."""
    billed = form.closing_released
    if form.refusal is not None:
        return Failed(form.refusal, may_have_billed=False)
    if isinstance(error, Refusal):
        return Failed(error, may_have_billed=False)
    if isinstance(error, Unreachable):
        return Failed(errors.upstream_unreachable(), may_have_billed=False)
    if isinstance(error, TimeoutError | ConnectTimeout):
        return Failed(errors.upstream_timeout(), may_have_billed=billed)
    return Failed(errors.upstream_error(), may_have_billed=billed)


def _useless(refusal: Refusal, response: Response) -> Failed:
    return Failed(refusal, may_have_billed=True, upstream_request_id=upstream_request_id(response.headers))


def _cut(response: Response) -> Failed:
    return Failed(
        errors.upstream_cut(), may_have_billed=True, upstream_request_id=upstream_request_id(response.headers)
    )
