"""What is known of a request and of its attempt, for logs, metrics and traces. A part that was not reached is None.

Moments are in seconds of the monotonic clock.
"""

from dataclasses import dataclass

from app.errors import Header
from app.gateway.caller import Caller
from app.gateway.inbound_request import InboundRequest
from app.gateway.ledger_rows import Hold, SettlementResult


@dataclass(slots=True)
class AttemptRecord:
    """One try at the upstream.

    The moments, in their order: the attempt `began`; the client was `requested` to connect; it was `connected`; the
    closing boundary was `released`; the head of the response `responded`. `sending` is how many seconds the upstream
    took to take the bytes. `sent_ms` is when the first of them went out, in milliseconds since the epoch.
    """

    began: float
    requested: float | None = None
    connected: float | None = None
    released: float | None = None
    responded: float | None = None
    sending: float = 0.0
    sent_ms: int | None = None
    sent_bytes: int = 0


@dataclass(slots=True)
class RequestRecord:
    """One request, with its row and its attempt.

    `parsed` is when the form contained all that admission needs, `settled` when the row's end was decided, and
    `delivering` when the response was handed on. `response_bytes` is how much of the response has gone to the caller.
    """

    request: InboundRequest
    caller: Caller | None = None
    hold: Hold | None = None
    attempt: AttemptRecord | None = None
    result: SettlementResult | None = None
    limits: tuple[Header, ...] = ()
    status: int | None = None
    error: str | None = None
    model: str | None = None
    parsed: float | None = None
    delivering: float | None = None
    settled: float | None = None
    response_bytes: int = 0
