"""Admitting: the hold on what a request may cost, decided in memory, its commit left running while the file streams.

`relay` takes a `Permit` and cannot be called without one; it awaits `committed` before it releases the closing
boundary, so that no provider can act on a request whose hold is not on disk.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from app.config import Model, Task
from app.gateway.auth import Caller
from app.gateway.call import Call
from app.gateway.intake import Upload
from app.units import AudioMs, NanoUSD, to_ms


@dataclass(frozen=True, slots=True)
class Hold:
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
    bound_audio: AudioMs
    bound_cost: NanoUSD


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to send one request upstream. `committed` ends when the hold is durable, or raises LedgerUnavailable."""

    hold: Hold
    model: Model
    committed: Awaitable[None]


class LedgerUnavailable(Exception):
    """The ledger could not make a row durable."""


class HoldBook(Protocol):
    """Where holds are written. The call takes the hold at once; the awaitable ends with its commit."""

    def hold(self, hold: Hold) -> Awaitable[None]: ...


def admit(call: Call, caller: Caller, upload: Upload, upstream: str, book: HoldBook, now_ms: int) -> Permit:
    """A permit for this upload, held at the bound of what its file can cost."""
    audio = to_ms(upload.tally.bound_seconds(upload.max_file_bytes))
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
        bound_audio=audio,
        bound_cost=upload.model.price.bound(audio),
    )
    return Permit(hold, upload.model, book.hold(hold))
