"""What every caller has spent and holds, window by window, decided in memory and kept in step with the ledger.

A tab is read from the ledger at a caller's first request, when none of theirs is in flight; from then on every hold,
revision and outcome passes through here in the same order in which it is written. So a budget that is added or changed
later is exact at once. A request counts in the windows of its admission. Windows follow the clock both ways: one that
the clock enters is read from the ledger, unless it is still known from before.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from app import errors
from app.errors import APIError
from app.gateway.caller import Caller
from app.gateway.ledger_rows import BudgetAlert
from app.gateway.ports import ClosedUsageReader
from app.policy.budget import (
    MS_PER_DAY,
    NOTHING,
    Amounts,
    Budget,
    BudgetDecision,
    Window,
    amount_text,
    decide,
    first_day,
    next_day,
)
from app.wire import identifier

RESERVED_RETRY_SECONDS = 2.0


@dataclass(slots=True)
class WindowUsage:
    """One window of one caller: what is settled, what is held, by how many, and which notices were given of it.

    `resolution` is the last one that was in the ledger when the window was read from it.
    """

    begun: date
    settled: Amounts
    resolution: int
    held: Amounts = NOTHING
    holds: int = 0
    alerted: set[tuple[Budget, int]] = field(default_factory=set)


@dataclass(slots=True)
class CallerUsage:
    """One caller's windows on a day (counted from the epoch).

    `others` are windows that the clock has left: those with requests in flight, and those that it left last, in case it
    goes back.
    """

    day: int
    sums: Mapping[Window, WindowUsage]
    others: tuple[tuple[Window, WindowUsage], ...] = ()

    @property
    def known(self) -> tuple[tuple[Window, WindowUsage], ...]:
        return (*self.others, *self.sums.items())


@dataclass(slots=True)
class Reservation:
    """The hold of one request in all windows; closed once, with what the request came to."""

    caller: Caller
    sums: Mapping[Window, WindowUsage]
    bound: Amounts
    thresholds: tuple[int, ...]

    def revise(self, bound: Amounts, now_ms: int) -> bool:
        """Hold this much instead, in every window; whether that is more than before.

        APIError 429 if a budget has no room for more; the hold then stays as it is.
        """
        raised = tuple(
            budget for budget in self.caller.policy.budgets if bound.of(budget.unit) > self.bound.of(budget.unit)
        )
        _check_room(raised, self.sums, self.bound, bound, now_ms)
        for each in self.sums.values():
            each.held = each.held.less(self.bound).plus(bound)
        before, self.bound = self.bound, bound
        return any(now > then for now, then in zip(bound, before, strict=True))

    def close(self, actual: Amounts, now_ms: int) -> tuple[BudgetAlert, ...]:
        """Put what the request came to in the place of its hold; the notices that this gives rise to."""
        for each in self.sums.values():
            each.held = each.held.less(self.bound)
            each.holds -= 1
            each.settled = each.settled.plus(actual)
        return tuple(self._alerts(now_ms)) if actual != NOTHING else ()

    def _alerts(self, now_ms: int) -> Iterator[BudgetAlert]:
        for budget in self.caller.policy.budgets:
            each = self.sums[budget.window]
            spent = each.settled.of(budget.unit)
            for threshold in self.thresholds:
                if spent * 100 >= budget.limit * threshold and (budget, threshold) not in each.alerted:
                    each.alerted.add((budget, threshold))
                    yield _alert(self.caller, budget, each, threshold, now_ms)


class Budgets:
    """Every caller's tab: a sum for each window. Notices are given at these shares of a budget, in percent."""

    def __init__(
        self,
        spending: ClosedUsageReader,
        thresholds: tuple[int, ...] = (),
        usage_by_caller: dict[str, CallerUsage] | None = None,
    ) -> None:
        self._spending = spending
        self._thresholds = thresholds
        self._usage_by_caller = {} if usage_by_caller is None else usage_by_caller

    def alerting_at(self, thresholds: tuple[int, ...]) -> "Budgets":
        """The same tabs, with notices at other shares from the next hold on."""
        return Budgets(self._spending, thresholds, self._usage_by_caller)

    def check_spent(self, caller: Caller, now_ms: int) -> None:
        """APIError 429 `insufficient_quota` if a budget is spent: known before the body is read."""
        sums = self._sums(caller.name, now_ms)
        for budget in caller.policy.budgets:
            if sums[budget.window].settled.of(budget.unit) >= budget.limit:
                raise _quota_spent(budget, now_ms)

    def reserve(self, caller: Caller, bound: Amounts, now_ms: int) -> Reservation:
        """Hold this much in every window; APIError 429 if a budget has no room for it, now or at all."""
        sums = self._sums(caller.name, now_ms)
        _check_room(caller.policy.budgets, sums, NOTHING, bound, now_ms)
        for each in sums.values():
            each.held = each.held.plus(bound)
            each.holds += 1
        return Reservation(caller, sums, bound, self._thresholds)

    def adjust(self, caller: str, resolution: int, admitted_ms: int, change: Amounts) -> None:
        """Take in that a row which was closed has been resolved otherwise, if the caller's tab was read before."""
        usage = self._usage_by_caller.get(caller)
        if usage is None:
            return
        for window, each in usage.known:
            if resolution > each.resolution and first_day(window, admitted_ms) == each.begun:
                each.settled = each.settled.plus(change)

    @property
    def held(self) -> int:
        """How many holds there are: 0 at idle."""
        return sum(usage.sums[Window.TOTAL].holds for usage in list(self._usage_by_caller.values()))

    def used(self, caller: Caller, now_ms: int) -> Iterator[tuple[Budget, float]]:
        """How much of each of the caller's budgets is spent or held, 1 being all, if their tab has been read."""
        usage = self._usage_by_caller.get(caller.name)
        if usage is None:
            return
        for budget in caller.policy.budgets:
            each = usage.sums[budget.window]
            if each.begun != first_day(budget.window, now_ms):
                yield budget, 0.0
            else:
                yield budget, (each.settled.of(budget.unit) + each.held.of(budget.unit)) / budget.limit

    def _sums(self, caller: str, now_ms: int) -> Mapping[Window, WindowUsage]:
        """The caller's current windows; one that the clock has left is left to the requests that it still counts."""
        usage, day = self._usage_by_caller.get(caller), now_ms // MS_PER_DAY
        if usage is None:
            usage = self._usage_by_caller[caller] = CallerUsage(day, self._read(caller, list(Window), now_ms))
        elif day != usage.day:
            self._turn(caller, usage, now_ms)
        return usage.sums

    def _turn(self, caller: str, usage: CallerUsage, now_ms: int) -> None:
        """Make the windows of another day the current ones."""
        known = {(window, each.begun): each for window, each in usage.known}
        found = {window: known.get((window, first_day(window, now_ms))) for window in Window}
        sums = {window: each for window, each in found.items() if each is not None}
        sums |= self._read(caller, [window for window in Window if window not in sums], now_ms)
        left = [(window, each) for window, each in usage.sums.items() if each is not sums[window]]
        open_still = [(window, each) for window, each in usage.others if each.holds and each is not sums[window]]
        usage.day, usage.sums, usage.others = now_ms // MS_PER_DAY, sums, (*open_still, *left)

    def _read(self, caller: str, windows: Sequence[Window], now_ms: int) -> dict[Window, WindowUsage]:
        """These windows as the ledger has them."""
        periods = [(first_day(window, now_ms), next_day(window, now_ms)) for window in windows]
        spent = self._spending.spent(caller, periods)
        return {
            window: WindowUsage(begun, amounts, spent.resolution)
            for window, (begun, _), amounts in zip(windows, periods, spent.amounts, strict=True)
        }


def _check_room(
    budgets: tuple[Budget, ...], sums: Mapping[Window, WindowUsage], own: Amounts, bound: Amounts, now_ms: int
) -> None:
    """APIError 429 if one of these budgets has no room for a hold of `bound` in the place of `own`."""
    reserved = None
    for budget in budgets:
        each, unit = sums[budget.window], budget.unit
        others = each.held.of(unit) - own.of(unit)
        verdict = decide(budget.limit, each.settled.of(unit), others, bound.of(unit))
        if verdict is BudgetDecision.SPENT:
            raise _quota_spent(budget, now_ms)
        if verdict is BudgetDecision.RESERVED:
            reserved = reserved or budget
    if reserved is not None:
        raise _budget_reserved(reserved)


def _quota_spent(budget: Budget, now_ms: int) -> APIError:
    return errors.insufficient_quota(str(budget), next_day(budget.window, now_ms))


def _budget_reserved(budget: Budget) -> APIError:
    return errors.budget_reserved(str(budget), RESERVED_RETRY_SECONDS)


def _alert(caller: Caller, budget: Budget, each: WindowUsage, threshold: int, now_ms: int) -> BudgetAlert:
    unit = budget.unit
    return BudgetAlert(
        id=identifier.time_ordered("ntc_", now_ms, secrets.token_bytes(identifier.RANDOM_BYTES)),
        caller=caller.name,
        budget=str(budget),
        window=each.begun,
        threshold=threshold,
        reached=each.settled.of(unit) * 100 // budget.limit,
        spent=amount_text(each.settled.of(unit), unit),
        limit=amount_text(budget.limit, unit),
        created_ms=now_ms,
    )
