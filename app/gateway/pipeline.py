"""The way of a request, from its head to its settled row. Read `_answer` from top to bottom."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from app import errors
from app.clock import now_ms
from app.errors import APIError, Header
from app.gateway import authentication, reservation
from app.gateway.admission_control import AdmissionControl
from app.gateway.auth_failures import AuthFailureLimiter
from app.gateway.authentication import KeyDirectory
from app.gateway.budgets import Budgets
from app.gateway.caller import Caller
from app.gateway.inbound_request import InboundRequest
from app.gateway.ports import Ledger
from app.gateway.relay import Relay
from app.gateway.reservation import Admission
from app.gateway.settlement import CallerResponse, Settlement, StreamAborted
from app.gateway.upload import UploadParser

_log = logging.getLogger("audio_gateway.pipeline")

Deliver = Callable[[CallerResponse], Awaitable[None]]


class RequestObserver(Protocol):
    """Who is told of every request when it has ended."""

    def request(self, record: "RequestRecord") -> None: ...


@dataclass(slots=True)
class RequestRecord:
    """How far a request came, for the journal: None is what it did not reach.

    `read` is when its form had told all that admission needs, `replied` when its answer was handed on, in seconds of
    the monotonic clock.
    """

    call: InboundRequest
    caller: Caller | None = None
    admission: Admission | None = None
    account: Settlement | None = None
    limits: tuple[Header, ...] = ()
    status: int | None = None
    error: str | None = None
    model: str | None = None
    read: float | None = None
    replied: float | None = None


def no_trace_headers(_: InboundRequest) -> tuple[Header, ...]:
    return ()


class Pipeline:
    """All stages in their order."""

    def __init__(
        self,
        directory: KeyDirectory,
        auth_failures: AuthFailureLimiter,
        admission_control: AdmissionControl,
        budgets: Budgets,
        upload_parser: UploadParser,
        relay: Relay,
        ledger: Ledger,
        journal: RequestObserver,
        upstream: str,
        trace_headers: Callable[[InboundRequest], tuple[Header, ...]] = no_trace_headers,
    ) -> None:
        self._directory = directory
        self._auth_failures = auth_failures
        self._admission_control = admission_control
        self._budgets = budgets
        self._upload_parser = upload_parser
        self._relay = relay
        self._ledger = ledger
        self._observer = journal
        self._upstream = upstream
        self._trace_headers = trace_headers

    async def handle(self, call: InboundRequest, deliver: Deliver) -> None:
        """Have the answer to this call delivered; an APIError for whatever it is refused for."""
        record = RequestRecord(call)
        try:
            await self._answer(call, record, deliver)
        except asyncio.CancelledError:  # the gateway stops and its grace is over
            raise self._refused(record, errors.shutting_down()) from None
        except APIError as refusal:
            record.model = refusal.model
            if record.caller is not None and record.admission is None:
                self._ledger.refuse(record.caller, call, refusal)
            refusal.headers = (*refusal.headers, *record.limits)
            raise self._refused(record, refusal) from refusal.__cause__
        except StreamAborted:
            raise
        except Exception:
            _log.exception("request %s ended in an error of the gateway", call.id)
            raise self._refused(record, errors.internal_error()) from None
        finally:
            self._observer.request(record)

    def _refused(self, record: RequestRecord, refusal: APIError) -> APIError:
        """The refusal with which a request ends; whatever it is, nobody repeats what is charged already."""
        record.status, record.error = refusal.status, refusal.code
        result = record.account.result if record.account is not None else None
        return refusal.without_retry() if result is not None and result.charged else refusal

    async def _answer(self, call: InboundRequest, record: RequestRecord, deliver: Deliver) -> None:
        with self._auth_failures.watching(call.id, call.address, time.monotonic_ns()):
            record.caller = caller = await authentication.identify(call.headers, self._directory, now_ms())
        record.limits = self._admission_control.check_rate(caller, time.monotonic_ns(), call.received_ms)
        with (
            self._admission_control.lease(call, caller) as lease,
            closing(await self._upload_parser.read(call, caller, lease)) as upload,
        ):
            record.read = time.monotonic()
            record.admission = admission = reservation.admit(
                call, caller, lease, upload, self._upstream, self._budgets, self._ledger, now_ms()
            )
            form = self._relay.form(upload, admission)
            async with Settlement(admission, upload, form, self._ledger, call.began) as account:
                record.account = account
                async with self._relay.exchange(form, call.operation, self._trace_headers(call)) as reply:
                    answer = await account.answer(reply)
                    record.status, record.replied = answer.status, time.monotonic()
                    await deliver(CallerResponse(answer.status, (*answer.headers, *record.limits), answer.body))
