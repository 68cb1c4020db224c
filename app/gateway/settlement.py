"""Settlement: a held row ends exactly once, and no caller gets the end of a response before that end is durable.

held ─┬─ settled    the response came: its own usage, else the measured length, else an estimate from the file's size
      ├─ released   the upstream did no work
      └─ unknown    it may have: charged at the hold until an operator resolves the row

Usage that the audio cannot cause is not believed (`app.policy.plausibility`). The row is settled as if there were none.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable
from typing import NamedTuple, Self

from app import errors
from app.errors import APIError, Header
from app.gateway.ledger_rows import SettlementResult, State
from app.gateway.ports import Ledger, LedgerUnavailable
from app.gateway.request_record import RequestRecord
from app.gateway.reservation import Admission
from app.gateway.upload import Upload
from app.gateway.upstream.body import UpstreamBody
from app.gateway.upstream.result import BufferedResponse, StreamingResponse, UpstreamFailure
from app.operations import RESPONSE_FORMATS, Operation
from app.policy import plausibility
from app.policy.budget import NOTHING, Amounts
from app.units import Tokens, Usage, UsageSource, to_ms
from app.wire.failure import is_error_event, is_failure_event
from app.wire.headers import caller_headers, upstream_request_id
from app.wire.usage import final_document, is_end_marker

_log = logging.getLogger("audio_gateway.accounting")


class CallerResponse(NamedTuple):
    """The response for the caller. If a streamed body raises, the connection is cut, so that no caller takes the
    response for complete.
    """

    status: int
    headers: tuple[Header, ...]
    body: bytes | AsyncIterator[bytes]


class StreamAborted(Exception):
    """The upstream's stream broke off after its first bytes had gone to the caller."""


class Settlement:
    """A context that settles one admitted request's row on every way out. A failed attempt leaves it as an APIError.

    `record` gets the result, the moment at which it was decided, and the bytes that have gone to the caller.
    """

    def __init__(
        self, admission: Admission, upload: Upload, body: UpstreamBody, ledger: Ledger, record: RequestRecord
    ) -> None:
        self._admission = admission
        self._upload = upload
        self._body = body
        self._ledger = ledger
        self._record = record
        self._operation: Operation = record.request.operation

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            if isinstance(error, UpstreamFailure):
                await self._fail(error)
                raise error.error from error
        finally:
            self._abandon()

    async def response(self, result: BufferedResponse | StreamingResponse) -> CallerResponse:
        """Returns the caller's response: a whole one after its settlement, a stream with its settlement inside."""
        responded = self._body.record.responded or time.monotonic()
        headers = _headers(result, responded - self._record.request.began)
        if isinstance(result, StreamingResponse):
            return CallerResponse(result.status, headers, self._relay(result))
        await self._settle(result, result.usage)
        self._record.response_bytes = len(result.body)
        return CallerResponse(result.status, headers, result.body)

    async def _fail(self, failure: UpstreamFailure, status: int | None = None) -> None:
        """Ends the row of a failed attempt. `status` is what the caller saw, if it is not the failure's own.

        A ledger that cannot be written does not change the response here.
        """
        error = failure.error
        state = State.UNKNOWN if failure.may_have_billed else State.RELEASED
        try:
            await self._end(state, status or error.status, error.code, None, failure.upstream_request_id, None)
        except LedgerUnavailable:
            return

    def _abandon(self) -> None:
        """Ends the row of a request that the gateway itself cut off, by a shutdown or an error of its own."""
        if self._record.result is None:
            state = State.UNKNOWN if self._body.closing_released else State.RELEASED
            self._end(state, 500, "interrupted", None, None, None)

    async def _relay(self, stream: StreamingResponse) -> AsyncIterator[bytes]:
        """Yields events as they arrive. The one that ends the transcript, and all behind it, wait for the settlement.

        A stream that fails after that event has nothing more to offer, and ends as a complete one. An error would make
        the caller's SDK raise, and the caller would pay for the same transcript again.
        """
        ended, settled, failed, error_relayed = False, False, False, False
        try:
            async for event in stream.events:
                closing = final_document(event)
                if is_failure_event(event):
                    failed = True
                    if is_error_event(event):
                        if settled:
                            raise UpstreamFailure(errors.upstream_error(), may_have_billed=True)
                        error_relayed = True
                if not ended and (closing is not None or is_end_marker(event)):
                    if failed and closing is None:
                        continue  # the end marker of a stream that has failed
                    ended = True
                    await self._settle(stream, self._operation.read_usage(closing))
                    settled = True
                self._record.response_bytes += len(event.raw)
                yield event.raw
            if error_relayed and not ended:
                await self._fail(UpstreamFailure(errors.upstream_failed(), may_have_billed=True), stream.status)
            elif not ended:
                raise UpstreamFailure(
                    errors.upstream_failed() if failed else errors.upstream_cut(), may_have_billed=True
                )
        except asyncio.CancelledError:
            if not (ended or error_relayed):
                yield _error_event(errors.shutting_down())
            raise
        except (UpstreamFailure, APIError) as error:
            if settled:
                _log.info("the provider's stream failed after the event that ends the transcript")
                return
            if isinstance(error, UpstreamFailure) and self._record.result is None:
                await self._fail(error, stream.status)
            if not error_relayed:
                yield _error_event(error.error if isinstance(error, UpstreamFailure) else error)
            raise StreamAborted from error

    async def _settle(self, result: BufferedResponse | StreamingResponse, usage: Usage | None) -> None:
        try:
            await self._end(
                State.SETTLED, result.status, None, usage, upstream_request_id(result.headers), result.answered_ms
            )
        except LedgerUnavailable as error:
            raise errors.settlement_failed() from error

    def _end(
        self,
        state: State,
        status: int,
        error: str | None,
        reported: Usage | None,
        upstream_id: str | None,
        answered_ms: int | None,
    ) -> Awaitable[None]:
        """Decides the result and writes it. What it returns ends when the row is durable."""
        assert self._record.result is None
        doubt = self._doubt(reported)
        charge, tokens, source = self._charge(state, reported if doubt is None else None)
        done_ms, self._record.settled = time.time_ns() // 1_000_000, time.monotonic()
        self._record.result = result = SettlementResult(
            id=self._admission.hold.id,
            state=state,
            status=status,
            error=error,
            bound=self._admission.reservation.bound,
            charge=charge,
            tokens=tokens,
            source=source,
            file_bytes=self._upload.meter.file_bytes,
            response_format=_known_format(self._body.text("response_format")),
            stream=self._body.text("stream").lower() in ("true", "1"),
            upstream_request_id=upstream_id,
            sent_ms=self._body.record.sent_ms,
            answered_ms=answered_ms,
            done_ms=done_ms,
            alerts=self._admission.reservation.close(charge, done_ms),
            implausible=None if doubt is None else reported,
        )
        return self._ledger.settle(result)

    def _doubt(self, reported: Usage | None) -> str | None:
        """Returns why the usage that the upstream reported is not believed; None if it is."""
        if reported is None:
            return None
        length, hold = self._upload.meter.length(), self._admission.reservation.bound
        doubt = plausibility.doubt(reported, to_ms(length.seconds), length.measured, hold, self._body.text_bytes)
        if doubt is not None:
            _log.warning(
                "the provider reports usage that is %s: %s for %.3f s; the measured length is charged",
                doubt,
                reported.document(),
                length.seconds,
            )
        return doubt

    def _charge(self, state: State, reported: Usage | None) -> tuple[Amounts, Tokens | None, UsageSource | None]:
        """Returns the charge: the real usage of a settled request, the hold of an unknown one."""
        if state is State.RELEASED:
            return NOTHING, None, None
        if state is State.UNKNOWN:
            return self._admission.reservation.bound, None, UsageSource.ESTIMATED
        length, price = self._upload.meter.length(), self._admission.model.price
        audio = reported.audio if reported is not None and reported.audio is not None else to_ms(length.seconds)
        tokens = reported.tokens if reported is not None else None
        measured = UsageSource.MEASURED if length.measured else UsageSource.ESTIMATED
        counted = tokens.total if tokens is not None else price.most_tokens(audio)
        charge = Amounts(cost=price.cost(audio, tokens), audio=audio, tokens=counted)
        return charge, tokens, UsageSource.UPSTREAM if reported else measured


def _headers(result: BufferedResponse | StreamingResponse, seconds: float) -> tuple[Header, ...]:
    """Returns the upstream's headers for the caller, with our own time, and a content type if it stated none."""
    headers = caller_headers(result.headers)
    names = dict(headers)
    if isinstance(result, BufferedResponse) and b"content-type" not in names:
        kind = b"text/plain; charset=utf-8" if not result.is_json else b"application/json"
        headers = ((b"content-type", kind), *headers)
    if b"openai-processing-ms" in names:
        return headers
    return (*headers, (b"openai-processing-ms", b"%d" % round(seconds * 1000)))


def _known_format(requested: str) -> str:
    """Returns the response format for the row. The caller's value may have any length."""
    return requested if requested in RESPONSE_FORMATS else "other" if requested else "json"


def _error_event(error: APIError) -> bytes:
    return b"data: %b\n\n" % error.envelope()
