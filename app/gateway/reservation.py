"""Reservation: the hold on the most that a request may cost. Memory decides; the commit runs while the file streams.

An attempt needs an `Admission`. Before its closing boundary is released, the hold is revised to the length that was
measured while the file passed, up or down, and `durable` is awaited. So the upstream cannot act on a request whose hold
is not on disk, or is lower than what the audio costs.
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
    """Permission to send one request upstream. `reservation` has its current hold, `written` the commits to await."""

    hold: Hold
    model: Model
    reservation: Reservation
    ledger: Ledger
    written: list[Awaitable[None]]

    def revise(self, upload: Upload, now_ms: int) -> None:
        """Revises the hold to what the complete file costs by its measured length.

        Raises APIError 429 if that is more and a budget has no room for it. An upload that was complete at admission is
        held at its measured length already.
        """
        if upload.complete:
            return
        bound = _amounts(upload, upload.meter.held_seconds())
        if bound == self.reservation.bound:
            return
        raised = self.reservation.revise(bound, now_ms)
        self.written.append(self.ledger.revise(self.hold.id, bound, raised=raised))

    async def durable(self) -> None:
        """Waits until the hold is on disk at its current height; LedgerUnavailable.

        A raise that reaches the ledger before the hold's own commit begins is part of that commit.
        """
        for commit in self.written:
            await commit


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
    """Reserves the most that this upload may cost, and returns its admission; APIError if a budget has no room for it.

    A file that is complete already is held at its measured length.
    """
    meter = upload.meter
    bound = _amounts(upload, meter.held_seconds() if upload.complete else meter.bound_seconds(upload.max_file_bytes))
    try:
        reservation = budgets.reserve(caller, bound, now_ms)
    except APIError as error:
        error.model = upload.model.id
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
    """Returns the most that this much audio may cost."""
    price, audio = upload.model.price, to_ms(seconds)
    return Amounts(cost=price.bound(audio), audio=audio, tokens=price.most_tokens(audio))
