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
from app.errors import Header, Refusal
from app.gateway import admission, auth
from app.gateway.accounting import Account, Answer, AnswerCut, OutcomeBook
from app.gateway.admission import HoldBook, Permit
from app.gateway.auth import Caller, KeyDirectory
from app.gateway.budgets import Budgets
from app.gateway.call import Call
from app.gateway.entry import Entrance
from app.gateway.intake import Intake
from app.gateway.relay import Relay
from app.gateway.throttle import Throttle

_log = logging.getLogger("audio_gateway.pipeline")

Deliver = Callable[[Answer], Awaitable[None]]


class Ledger(HoldBook, OutcomeBook, Protocol):
    """The durable record of what was admitted, and the counters of what was not."""

    def refuse(self, caller: Caller, call: Call, refusal: Refusal) -> None: ...


class Journal(Protocol):
    """Who is told of every request when it has ended."""

    def request(self, trail: "Trail") -> None: ...


@dataclass(slots=True)
class Trail:
    """How far a request came, for the journal: None is what it did not reach.

    `read` is when its form had told all that admission needs, `replied` when its answer was handed on, in seconds of
    the monotonic clock.
    """

    call: Call
    caller: Caller | None = None
    permit: Permit | None = None
    account: Account | None = None
    limits: tuple[Header, ...] = ()
    status: int | None = None
    error: str | None = None
    model: str | None = None
    read: float | None = None
    replied: float | None = None


def nothing_onward(_: Call) -> tuple[Header, ...]:
    return ()


class Pipeline:
    """All stages in their order."""

    def __init__(
        self,
        directory: KeyDirectory,
        throttle: Throttle,
        entrance: Entrance,
        budgets: Budgets,
        intake: Intake,
        relay: Relay,
        ledger: Ledger,
        journal: Journal,
        upstream: str,
        onward: Callable[[Call], tuple[Header, ...]] = nothing_onward,
    ) -> None:
        self._directory = directory
        self._throttle = throttle
        self._entrance = entrance
        self._budgets = budgets
        self._intake = intake
        self._relay = relay
        self._ledger = ledger
        self._journal = journal
        self._upstream = upstream
        self._onward = onward

    async def handle(self, call: Call, deliver: Deliver) -> None:
        """Have the answer to this call delivered; a Refusal for whatever it is refused for."""
        trail = Trail(call)
        try:
            await self._answer(call, trail, deliver)
        except asyncio.CancelledError:  # the gateway stops and its grace is over
            raise self._refused(trail, errors.shutting_down()) from None
        except Refusal as refusal:
            trail.model = refusal.model
            if trail.caller is not None and trail.permit is None:
                self._ledger.refuse(trail.caller, call, refusal)
            refusal.headers = (*refusal.headers, *trail.limits)
            raise self._refused(trail, refusal) from refusal.__cause__
        except AnswerCut:
            raise
        except Exception:
            _log.exception("request %s ended in an error of the gateway", call.id)
            raise self._refused(trail, errors.internal_error()) from None
        finally:
            self._journal.request(trail)

    def _refused(self, trail: Trail, refusal: Refusal) -> Refusal:
        """The refusal with which a request ends; whatever it is, nobody repeats what is charged already."""
        trail.status, trail.error = refusal.status, refusal.code
        outcome = trail.account.outcome if trail.account is not None else None
        return refusal.without_retry() if outcome is not None and outcome.charged else refusal

    async def _answer(self, call: Call, trail: Trail, deliver: Deliver) -> None:
        with self._throttle.watching(call.id, call.address, time.monotonic_ns()):
            trail.caller = caller = await auth.identify(call.headers, self._directory, now_ms())
        trail.limits = self._entrance.paced(caller, time.monotonic_ns(), call.received_ms)
        with self._entrance.slot(call, caller) as slot, closing(await self._intake.read(call, caller, slot)) as upload:
            trail.read = time.monotonic()
            trail.permit = permit = admission.admit(
                call, caller, slot, upload, self._upstream, self._budgets, self._ledger, now_ms()
            )
            form = self._relay.form(upload, permit)
            async with Account(permit, upload, form, self._ledger, call.began) as account:
                trail.account = account
                async with self._relay.exchange(form, call.task, self._onward(call)) as reply:
                    answer = await account.answer(reply)
                    trail.status, trail.replied = answer.status, time.monotonic()
                    await deliver(Answer(answer.status, (*answer.headers, *trail.limits), answer.body))
