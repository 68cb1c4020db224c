"""The request path, from a request's head to its settled row. Read `Pipeline._respond` from top to bottom."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import closing

from app import errors
from app.clock import now_ms
from app.errors import APIError, Header
from app.gateway import authentication, reservation
from app.gateway.admission_control import AdmissionControl
from app.gateway.auth_failures import AuthFailureLimiter
from app.gateway.authentication import KeyDirectory
from app.gateway.budgets import Budgets
from app.gateway.inbound_request import InboundRequest
from app.gateway.ports import Ledger, RequestObserver
from app.gateway.request_record import RequestRecord
from app.gateway.settlement import CallerResponse, Settlement, StreamAborted
from app.gateway.upload import UploadParser
from app.gateway.upstream.attempt import UpstreamAttempt
from app.gateway.upstream.body import UpstreamBody
from app.gateway.upstream.context import UpstreamContext

_log = logging.getLogger("audio_gateway.pipeline")

Deliver = Callable[[CallerResponse], Awaitable[None]]


def no_trace_headers(_: InboundRequest) -> tuple[Header, ...]:
    return ()


class Pipeline:
    """All stages, in their order."""

    def __init__(
        self,
        directory: KeyDirectory,
        auth_failures: AuthFailureLimiter,
        admission_control: AdmissionControl,
        budgets: Budgets,
        upload_parser: UploadParser,
        upstream: UpstreamContext,
        ledger: Ledger,
        observer: RequestObserver,
        trace_headers: Callable[[InboundRequest], tuple[Header, ...]] = no_trace_headers,
    ) -> None:
        self._directory = directory
        self._auth_failures = auth_failures
        self._admission_control = admission_control
        self._budgets = budgets
        self._upload_parser = upload_parser
        self._upstream = upstream
        self._ledger = ledger
        self._observer = observer
        self._trace_headers = trace_headers

    async def handle(self, request: InboundRequest, deliver: Deliver) -> None:
        """Delivers the response to this request. Raises APIError if it is refused or fails, StreamAborted if a stream
        broke off.
        """
        record = RequestRecord(request)
        try:
            await self._respond(request, record, deliver)
        except asyncio.CancelledError:  # the gateway stops, and its grace is over
            raise _final_error(record, errors.shutting_down()) from None
        except APIError as error:
            record.model = error.model
            if record.caller is not None and record.hold is None:
                self._ledger.refuse(record.caller, request, error)
            error.headers = (*error.headers, *record.limits)
            raise _final_error(record, error) from error.__cause__
        except StreamAborted:
            raise
        except Exception:
            _log.exception("request %s failed with an internal error", request.id)
            raise _final_error(record, errors.internal_error()) from None
        finally:
            self._observer.observe(record)

    async def _respond(self, request: InboundRequest, record: RequestRecord, deliver: Deliver) -> None:
        # Authenticate.
        with self._auth_failures.watching(request.id, request.address, time.monotonic_ns()):
            record.caller = caller = await authentication.identify(request.headers, self._directory, now_ms())
        # Admission control: rate, spent budgets, concurrency and declared size, before the body is read.
        record.limits = self._admission_control.check_rate(caller, time.monotonic_ns(), request.received_ms)
        with (
            self._admission_control.lease(request, caller) as lease,
            # Parse the upload: fields, model and container. The file keeps streaming.
            closing(await self._upload_parser.read(request, caller, lease)) as upload,
        ):
            record.parsed = time.monotonic()
            # Reserve the most that the request may cost.
            admission = reservation.admit(
                request, caller, lease, upload, self._upstream.name, self._budgets, self._ledger, now_ms()
            )
            record.hold = admission.hold
            # Attempt: the form goes to the upstream, its response comes back. Settle the row on every way out.
            body = UpstreamBody(upload, admission, self._upstream.timeouts)
            record.attempt = body.record
            async with (
                Settlement(admission, upload, body, self._ledger, record) as settlement,
                UpstreamAttempt(self._upstream, body, request.operation, self._trace_headers(request)) as result,
            ):
                response = await settlement.response(result)
                # Deliver.
                record.status, record.delivering = response.status, time.monotonic()
                await deliver(CallerResponse(response.status, (*response.headers, *record.limits), response.body))


def _final_error(record: RequestRecord, error: APIError) -> APIError:
    """Returns the error that ends a request. It never invites a retry of what is charged already."""
    record.status, record.error = error.status, error.code
    return error.without_retry() if record.result is not None and record.result.charged else error
