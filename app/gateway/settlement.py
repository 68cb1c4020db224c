"""Accounting: a held row comes to exactly one end, and no caller sees the end of an answer before that end is durable.

held ─┬─ settled    the answer came: real usage, else what the file measured, else an estimate from its bytes
      ├─ released   the provider did no work
      └─ unknown    it may have: charged at the hold until someone resolves it

Usage that the audio cannot come to is not believed (`policy.plausibility`): it is settled as if there were none.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable
from typing import NamedTuple, Self

from app import errors
from app.errors import APIError, Header
from app.gateway.attempt import BufferedResponse, StreamingResponse, UpstreamFailure
from app.gateway.ledger_rows import SettlementResult, State
from app.gateway.ports import Ledger, LedgerUnavailable
from app.gateway.reservation import Admission
from app.gateway.upload import Upload
from app.gateway.upstream_body import UpstreamBody
from app.operations import RESPONSE_FORMATS
from app.policy import plausibility
from app.policy.budget import NOTHING, Amounts
from app.units import Tokens, Usage, UsageSource, to_ms
from app.wire.failure import is_error_event, is_failure_event
from app.wire.headers import towards_caller, upstream_request_id
from app.wire.usage import closing_answer, is_end_marker, usage_of

_log = logging.getLogger("audio_gateway.accounting")


class CallerResponse(NamedTuple):
    """What the caller gets. A streamed body that raises is to be cut off, so that nobody takes it for complete."""

    status: int
    headers: tuple[Header, ...]
    body: bytes | AsyncIterator[bytes]


class StreamAborted(Exception):
    """The provider's stream broke off after its first bytes had gone to the caller."""


class Settlement:
    """One admitted request's row, closed on every way out of its `with`; a failed exchange leaves as its APIError.

    `result` is None while it is held; `closed` is when it was fixed, and `began` when the request began, in seconds of
    the monotonic clock. `answer_bytes` is how much of the provider's answer has gone to the caller.
    """

    def __init__(self, admission: Admission, upload: Upload, form: UpstreamBody, ledger: Ledger, began: float) -> None:
        self._began = began
        self._admission = admission
        self._upload = upload
        self.form = form
        self._ledger = ledger
        self.result: SettlementResult | None = None
        self.closed: float | None = None
        self.answer_bytes = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            if isinstance(error, UpstreamFailure):
                await self.fail(error)
                raise error.refusal from error
        finally:
            self.abandon()

    async def answer(self, reply: BufferedResponse | StreamingResponse) -> CallerResponse:
        """The caller's answer: a whole one after its settlement, a stream with its settlement inside."""
        headers = _headers(reply, (self.form.answered or time.monotonic()) - self._began)
        if isinstance(reply, StreamingResponse):
            return CallerResponse(reply.status, headers, self._relayed(reply))
        await self._settle(reply, reply.usage)
        self.answer_bytes = len(reply.body)
        return CallerResponse(reply.status, headers, reply.body)

    async def fail(self, failed: UpstreamFailure, status: int | None = None) -> None:
        """Close the row of a request that came to nothing; `status` is what the caller saw, if not the refusal's.

        A ledger that cannot be written changes no answer here.
        """
        refusal = failed.refusal
        state = State.UNKNOWN if failed.may_have_billed else State.RELEASED
        try:
            await self._close(state, status or refusal.status, refusal.code, None, failed.upstream_request_id, None)
        except LedgerUnavailable:
            return

    def abandon(self) -> None:
        """Close the row of a request that was cut off from within: at a shutdown, or by an error of ours."""
        if self.result is None:
            state = State.UNKNOWN if self.form.closing_released else State.RELEASED
            self._close(state, 500, "interrupted", None, None, None)

    async def _relayed(self, stream: StreamingResponse) -> AsyncIterator[bytes]:
        """Events as they come; the one that ends the transcript, and all behind it, after the settlement.

        A stream that fails behind that event has nothing more to give: it ends as a whole one, because an error would
        have the caller's SDK raise, and the caller pay for the same transcript again.
        """
        ended, settled, failed, error_told = False, False, False, False
        try:
            async for event in stream.events:
                done = closing_answer(event)
                if is_failure_event(event):
                    failed = True
                    if is_error_event(event):
                        if settled:
                            raise UpstreamFailure(errors.upstream_error(), may_have_billed=True)
                        error_told = True
                if not ended and (done is not None or is_end_marker(event)):
                    if failed and done is None:
                        continue  # the end marker of a stream that has failed
                    ended = True
                    await self._settle(stream, usage_of(done))
                    settled = True
                self.answer_bytes += len(event.raw)
                yield event.raw
            if error_told and not ended:
                await self.fail(UpstreamFailure(errors.upstream_failed(), may_have_billed=True), stream.status)
            elif not ended:
                raise UpstreamFailure(
                    errors.upstream_failed() if failed else errors.upstream_cut(), may_have_billed=True
                )
        except asyncio.CancelledError:
            if not (ended or error_told):
                yield _frame(errors.shutting_down())
            raise
        except (UpstreamFailure, APIError) as error:
            if settled:
                _log.info("the provider's stream failed behind the event that ends the transcript")
                return
            if isinstance(error, UpstreamFailure) and self.result is None:
                await self.fail(error, stream.status)
            if not error_told:
                yield _frame(error.refusal if isinstance(error, UpstreamFailure) else error)
            raise StreamAborted from error

    async def _settle(self, reply: BufferedResponse | StreamingResponse, told: Usage | None) -> None:
        try:
            await self._close(
                State.SETTLED, reply.status, None, told, upstream_request_id(reply.headers), reply.answered_ms
            )
        except LedgerUnavailable as error:
            raise errors.settlement_failed() from error

    def _close(
        self,
        state: State,
        status: int,
        error: str | None,
        told: Usage | None,
        upstream_id: str | None,
        answered_ms: int | None,
    ) -> Awaitable[None]:
        """Fix the outcome and write it; the awaitable ends with the commit."""
        assert self.result is None
        doubt = self._doubt(told)
        charge, tokens, source = self._charge(state, told if doubt is None else None)
        done_ms, self.closed = time.time_ns() // 1_000_000, time.monotonic()
        self.result = SettlementResult(
            id=self._admission.hold.id,
            state=state,
            status=status,
            error=error,
            bound=self._admission.reservation.bound,
            charge=charge,
            tokens=tokens,
            source=source,
            file_bytes=self._upload.meter.file_bytes,
            response_format=_known_format(self.form.text("response_format")),
            stream=self.form.text("stream").lower() in ("true", "1"),
            upstream_request_id=upstream_id,
            sent_ms=self.form.sent_ms,
            answered_ms=answered_ms,
            done_ms=done_ms,
            alerts=self._admission.reservation.close(charge, done_ms),
            implausible=None if doubt is None else told,
        )
        return self._ledger.settle(self.result)

    def _doubt(self, told: Usage | None) -> str | None:
        """Why the usage that the provider reported is not believed."""
        if told is None:
            return None
        length, hold = self._upload.meter.length(), self._admission.reservation.bound
        doubt = plausibility.doubt(told, to_ms(length.seconds), length.measured, hold, self.form.text_bytes)
        if doubt is not None:
            _log.warning(
                "the provider reports usage that is %s: %s for %.3f s; the measured length is charged",
                doubt,
                told.document(),
                length.seconds,
            )
        return doubt

    def _charge(self, state: State, told: Usage | None) -> tuple[Amounts, Tokens | None, UsageSource | None]:
        """What the request is charged: the real usage if it is settled, its bound if that is unknown."""
        if state is State.RELEASED:
            return NOTHING, None, None
        if state is State.UNKNOWN:
            return self._admission.reservation.bound, None, UsageSource.ESTIMATED
        length, price = self._upload.meter.length(), self._admission.model.price
        audio = told.audio if told is not None and told.audio is not None else to_ms(length.seconds)
        tokens = told.tokens if told is not None else None
        measured = UsageSource.MEASURED if length.measured else UsageSource.ESTIMATED
        counted = tokens.total if tokens is not None else price.most_tokens(audio)
        charge = Amounts(cost=price.cost(audio, tokens), audio=audio, tokens=counted)
        return charge, tokens, UsageSource.UPSTREAM if told else measured


def _headers(reply: BufferedResponse | StreamingResponse, seconds: float) -> tuple[Header, ...]:
    """The provider's headers that cross, with our own time, and the type of a whole answer, where it told none."""
    headers = towards_caller(reply.headers)
    told = dict(headers)
    if isinstance(reply, BufferedResponse) and b"content-type" not in told:
        kind = b"text/plain; charset=utf-8" if not reply.is_json else b"application/json"
        headers = ((b"content-type", kind), *headers)
    if b"openai-processing-ms" in told:
        return headers
    return (*headers, (b"openai-processing-ms", b"%d" % round(seconds * 1000)))


def _known_format(asked: str) -> str:
    """The field's value is the caller's, of any length; what a row holds is not."""
    return asked if asked in RESPONSE_FORMATS else "other" if asked else "json"


def _frame(refusal: APIError) -> bytes:
    return b"data: %b\n\n" % refusal.envelope()
