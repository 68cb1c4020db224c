"""Admission control without any usage, and requests whose body must stay unread."""

from collections.abc import AsyncIterator, Sequence

from app.gateway.admission_control import AdmissionControl
from app.gateway.budgets import Budgets
from app.gateway.inbound_request import InboundRequest
from app.gateway.ledger_rows import ClosedUsage, Days
from app.gateway.rate_limiter import RateLimiter
from app.operations import TRANSCRIPTION
from app.policy.budget import NOTHING
from app.policy.quota import Quota
from app.wire.headers import Header, Headers

MAX_FILE_BYTES = 1_000
FORM = (b"content-type", b"multipart/form-data; boundary=abc")


class NothingSpent:
    def spent(self, caller: str, periods: Sequence[Days]) -> ClosedUsage:
        return ClosedUsage((NOTHING,) * len(periods), 0)


def admission_control_for(requests: int, limits: RateLimiter | None = None) -> AdmissionControl:
    return AdmissionControl(
        requests, MAX_FILE_BYTES, limits or RateLimiter(), Budgets(NothingSpent(), ()), Quota(1 << 20, "")
    )


async def unread_body() -> AsyncIterator[bytes]:
    raise AssertionError("the body was read")
    yield b""


def request(*fields: Header) -> InboundRequest:
    return InboundRequest("req_1", TRANSCRIPTION, Headers(fields), unread_body(), 0)
