"""Admitting: the hold on what a request may cost, decided in memory, its commit left running while the file streams.

`relay` takes an `Admission` and cannot be called without one. Before it releases the closing boundary it revises the
hold to the length that was measured while the file passed, up or down, and awaits `durable`. So no provider can act on
a request whose hold is not on disk, or is less than what the audio costs.
"""

from collections.abc import Awaitable
from dataclasses import dataclass

from app.config import Model
from app.errors import APIError
from app.gateway.admission_control import ConcurrencyLease
from app.gateway.budgets import Budgets, Reservation
from app.gateway.caller import Caller
from app.gateway.inbound_request import InboundRequest
from app.gateway.ledger_rows import Hold
from app.gateway.ports import Ledger
from app.gateway.upload import Upload
from app.policy.budget import Amounts
from app.units import to_ms


@dataclass(slots=True)
class Admission:
    """Leave to send one request upstream. What is held for it now is in `reservation`."""

    hold: Hold
    model: Model
    reservation: Reservation
    ledger: Ledger
    written: list[Awaitable[None]]

    def revise(self, upload: Upload, now_ms: int) -> None:
        """Hold what the complete file may cost by its measured length; APIError 429 if that is more and has no room."""
        if upload.complete:  # held at its measured length from the first
            return
        bound = _amounts(upload, upload.meter.held_seconds())
        if bound == self.reservation.bound:
            return
        raised = self.reservation.revise(bound, now_ms)
        self.written.append(self.ledger.revise(self.hold.id, bound, raised=raised))

    async def durable(self) -> None:
        """Wait until the hold is on disk, as high as it is; LedgerUnavailable.

        A raise that is handed in before the hold's own commit begins shares it.
        """
        for each in self.written:
            await each


def admit(
    request: InboundRequest,
    caller: Caller,
    lease: ConcurrencyLease,
    upload: Upload,
    upstream: str,
    budgets: Budgets,
    ledger: Ledger,
    now_ms: int,
) -> Admission:
    """A permit for this upload, held at the bound of what its file can cost; APIError if a budget has no room for it.

    A file that is there to its end already is held at its measured length.
    """
    meter = upload.meter
    bound = _amounts(upload, meter.held_seconds() if upload.complete else meter.bound_seconds(upload.max_file_bytes))
    try:
        reservation = budgets.reserve(caller, bound, now_ms)
    except APIError as refusal:
        refusal.model = upload.model.id
        raise
    hold = Hold(
        id=request.id,
        caller=caller.name,
        key_id=caller.key_id,
        task=request.operation.task,
        model=upload.model.id,
        upstream=upstream,
        upstream_model=upload.model.name_upstream,
        container=upload.container.value,
        received_ms=request.received_ms,
        admitted_ms=now_ms,
        bound=bound,
        tags=lease.tags,
    )
    return Admission(hold, upload.model, reservation, ledger, [ledger.reserve(hold)])


def _amounts(upload: Upload, seconds: float) -> Amounts:
    """The most that so much audio may cost."""
    price, audio = upload.model.price, to_ms(seconds)
    return Amounts(cost=price.bound(audio), audio=audio, tokens=price.most_tokens(audio))
