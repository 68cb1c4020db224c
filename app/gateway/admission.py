"""Admitting: the hold on what a request may cost, decided in memory, its commit left running while the file streams.

`relay` takes a `Permit` and cannot be called without one; it awaits `committed` before it releases the closing
boundary, so that no provider can act on a request whose hold is not on disk.
"""

from collections.abc import Awaitable
from typing import NamedTuple, Protocol

from app.config import Model, Task
from app.errors import Refusal
from app.gateway.auth import Caller
from app.gateway.budgets import Budgets, Reservation
from app.gateway.call import Call
from app.gateway.entry import Slot
from app.gateway.intake import Upload
from app.policy.budget import Amounts
from app.policy.terms import Tags
from app.units import to_ms


class Hold(NamedTuple):
    """A request's row as it begins: state `held`, charged at the bound until it ends."""

    id: str
    caller: str
    key_id: str
    task: Task
    model: str
    upstream: str
    upstream_model: str
    container: str
    received_ms: int
    admitted_ms: int
    bound: Amounts
    tags: Tags


class Permit(NamedTuple):
    """Leave to send one request upstream. `committed` ends when the hold is durable, or raises LedgerUnavailable."""

    hold: Hold
    model: Model
    reservation: Reservation
    committed: Awaitable[None]


class LedgerUnavailable(Exception):
    """The ledger could not make a row durable."""


class HoldBook(Protocol):
    """Where holds are written. The call takes the hold at once; the awaitable ends with its commit."""

    def hold(self, hold: Hold) -> Awaitable[None]: ...


def admit(
    call: Call, caller: Caller, slot: Slot, upload: Upload, upstream: str, budgets: Budgets, book: HoldBook, now_ms: int
) -> Permit:
    """A permit for this upload, held at the bound of what its file can cost; Refusal if a budget has no room for it."""
    bound = _bound(upload)
    try:
        reservation = budgets.reserve(caller, bound, now_ms)
    except Refusal as refusal:
        refusal.model = upload.model.id
        raise
    hold = Hold(
        id=call.id,
        caller=caller.name,
        key_id=caller.key_id,
        task=call.task,
        model=upload.model.id,
        upstream=upstream,
        upstream_model=upload.model.name_upstream,
        container=upload.container.value,
        received_ms=call.received_ms,
        admitted_ms=now_ms,
        bound=bound,
        tags=slot.tags,
    )
    return Permit(hold, upload.model, reservation, book.hold(hold))


def _bound(upload: Upload) -> Amounts:
    price = upload.model.price
    audio = to_ms(upload.tally.bound_seconds(upload.max_file_bytes))
    return Amounts(cost=price.bound(audio), audio=audio, tokens=price.most_tokens(audio))
