"""Budgets: what every caller has spent and holds, window by window. Memory decides, in step with the ledger.

A caller's usage is read from the ledger at its first request, when none of its requests is in flight. From then on
every hold, revision and settlement passes through here, in the order in which it is written. So a budget that is added
or changed later is exact at once.

A request counts in the windows of its admission. Windows follow the clock both ways: a window that the clock enters is
read from the ledger, unless it is still in memory.
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
    """One caller's usage in one window: what is settled, what is held and by how many requests, and the alerts sent.

    `resolution` is the number of the last resolution that was in the ledger when the window was read from it.
    """

    first_day: date
    settled: Amounts
    resolution: int
    held: Amounts = NOTHING
    holds: int = 0
    alerted: set[tuple[Budget, int]] = field(default_factory=set)


@dataclass(slots=True)
class CallerUsage:
    """One caller's usage in the windows of a day (counted from the epoch).

    `others` are windows that the clock has left: those with requests in flight, and those that it left last, in case
    the clock goes back.
    """

    day: int
    current: Mapping[Window, WindowUsage]
    others: tuple[tuple[Window, WindowUsage], ...] = ()

    @property
    def known(self) -> tuple[tuple[Window, WindowUsage], ...]:
        return (*self.others, *self.current.items())


@dataclass(slots=True)
class Reservation:
    """The hold of one request in all windows. It is closed once, with the request's charge."""

    caller: Caller
    windows: Mapping[Window, WindowUsage]
    bound: Amounts
    thresholds: tuple[int, ...]

    def revise(self, bound: Amounts, now_ms: int) -> bool:
        """Changes the hold to `bound` in every window, and returns whether any amount of it is higher than before.

        Raises APIError 429 if a budget has no room for more. The hold then stays as it is.
        """
        raised = tuple(
            budget for budget in self.caller.policy.budgets if bound.of(budget.unit) > self.bound.of(budget.unit)
        )
        _check_room(raised, self.windows, self.bound, bound, now_ms)
        for usage in self.windows.values():
            usage.held = usage.held.less(self.bound).plus(bound)
        before, self.bound = self.bound, bound
        return any(new > old for new, old in zip(bound, before, strict=True))

    def close(self, charge: Amounts, now_ms: int) -> tuple[BudgetAlert, ...]:
        """Replaces the hold by the charge, and returns the alerts that this causes."""
        for usage in self.windows.values():
            usage.held = usage.held.less(self.bound)
            usage.holds -= 1
            usage.settled = usage.settled.plus(charge)
        return tuple(self._alerts(now_ms)) if charge != NOTHING else ()

    def _alerts(self, now_ms: int) -> Iterator[BudgetAlert]:
        for budget in self.caller.policy.budgets:
            usage = self.windows[budget.window]
            spent = usage.settled.of(budget.unit)
            for threshold in self.thresholds:
                if spent * 100 >= budget.limit * threshold and (budget, threshold) not in usage.alerted:
                    usage.alerted.add((budget, threshold))
                    yield _alert(self.caller, budget, usage, threshold, now_ms)


class Budgets:
    """The usage of every caller. Alerts are due at the `thresholds`, in percent of a budget."""

    def __init__(
        self,
        reader: ClosedUsageReader,
        thresholds: tuple[int, ...] = (),
        usage_by_caller: dict[str, CallerUsage] | None = None,
    ) -> None:
        self._reader = reader
        self._thresholds = thresholds
        self._usage_by_caller = {} if usage_by_caller is None else usage_by_caller

    def alerting_at(self, thresholds: tuple[int, ...]) -> "Budgets":
        """Returns the same usage, with alerts at other thresholds from the next hold on."""
        return Budgets(self._reader, thresholds, self._usage_by_caller)

    def check_spent(self, caller: Caller, now_ms: int) -> None:
        """Raises APIError 429 `insufficient_quota` if a budget is spent. That is known before the body is read."""
        windows = self._windows(caller.name, now_ms)
        for budget in caller.policy.budgets:
            if windows[budget.window].settled.of(budget.unit) >= budget.limit:
                raise _quota_spent(budget, now_ms)

    def reserve(self, caller: Caller, bound: Amounts, now_ms: int) -> Reservation:
        """Holds `bound` in every window; APIError 429 if a budget has no room for it, now or at all."""
        windows = self._windows(caller.name, now_ms)
        _check_room(caller.policy.budgets, windows, NOTHING, bound, now_ms)
        for usage in windows.values():
            usage.held = usage.held.plus(bound)
            usage.holds += 1
        return Reservation(caller, windows, bound, self._thresholds)

    def adjust(self, caller: str, resolution: int, admitted_ms: int, change: Amounts) -> None:
        """Adds the change of a resolved row to the caller's usage, if that is in memory."""
        caller_usage = self._usage_by_caller.get(caller)
        if caller_usage is None:
            return
        for window, usage in caller_usage.known:
            if resolution > usage.resolution and first_day(window, admitted_ms) == usage.first_day:
                usage.settled = usage.settled.plus(change)

    @property
    def held(self) -> int:
        """The number of holds: 0 when no request is in flight."""
        return sum(usage.current[Window.TOTAL].holds for usage in list(self._usage_by_caller.values()))

    def used(self, caller: Caller, now_ms: int) -> Iterator[tuple[Budget, float]]:
        """Yields each of the caller's budgets with the share that is spent or held (1 is all of it).

        Nothing is yielded if the caller's usage is not in memory.
        """
        caller_usage = self._usage_by_caller.get(caller.name)
        if caller_usage is None:
            return
        for budget in caller.policy.budgets:
            usage = caller_usage.current[budget.window]
            if usage.first_day != first_day(budget.window, now_ms):
                yield budget, 0.0
            else:
                yield budget, (usage.settled.of(budget.unit) + usage.held.of(budget.unit)) / budget.limit

    def _windows(self, caller: str, now_ms: int) -> Mapping[Window, WindowUsage]:
        """Returns the caller's current windows. A window that the clock has left keeps counting its own requests."""
        usage, day = self._usage_by_caller.get(caller), now_ms // MS_PER_DAY
        if usage is None:
            usage = self._usage_by_caller[caller] = CallerUsage(day, self._read(caller, list(Window), now_ms))
        elif day != usage.day:
            self._change_day(caller, usage, now_ms)
        return usage.current

    def _change_day(self, caller: str, usage: CallerUsage, now_ms: int) -> None:
        """Makes the windows of another day the current ones."""
        known = {(window, entry.first_day): entry for window, entry in usage.known}
        found = {window: known.get((window, first_day(window, now_ms))) for window in Window}
        current = {window: entry for window, entry in found.items() if entry is not None}
        current |= self._read(caller, [window for window in Window if window not in current], now_ms)
        left = [(window, entry) for window, entry in usage.current.items() if entry is not current[window]]
        in_use = [(window, entry) for window, entry in usage.others if entry.holds and entry is not current[window]]
        usage.day, usage.current, usage.others = now_ms // MS_PER_DAY, current, (*in_use, *left)

    def _read(self, caller: str, windows: Sequence[Window], now_ms: int) -> dict[Window, WindowUsage]:
        """Reads these windows from the ledger."""
        periods = [(first_day(window, now_ms), next_day(window, now_ms)) for window in windows]
        closed = self._reader.spent(caller, periods)
        return {
            window: WindowUsage(begin, amounts, closed.resolution)
            for window, (begin, _), amounts in zip(windows, periods, closed.amounts, strict=True)
        }


def _check_room(
    budgets: tuple[Budget, ...], windows: Mapping[Window, WindowUsage], own: Amounts, bound: Amounts, now_ms: int
) -> None:
    """Raises APIError 429 if one of these budgets has no room for a hold of `bound` in the place of `own`."""
    reserved = None
    for budget in budgets:
        usage, unit = windows[budget.window], budget.unit
        held_by_others = usage.held.of(unit) - own.of(unit)
        decision = decide(budget.limit, usage.settled.of(unit), held_by_others, bound.of(unit))
        if decision is BudgetDecision.SPENT:
            raise _quota_spent(budget, now_ms)
        if decision is BudgetDecision.RESERVED:
            reserved = reserved or budget
    if reserved is not None:
        raise _budget_reserved(reserved)


def _quota_spent(budget: Budget, now_ms: int) -> APIError:
    return errors.insufficient_quota(str(budget), next_day(budget.window, now_ms))


def _budget_reserved(budget: Budget) -> APIError:
    return errors.budget_reserved(str(budget), RESERVED_RETRY_SECONDS)


def _alert(caller: Caller, budget: Budget, usage: WindowUsage, threshold: int, now_ms: int) -> BudgetAlert:
    unit, spent = budget.unit, usage.settled.of(budget.unit)
    return BudgetAlert(
        id=identifier.time_ordered("ntc_", now_ms, secrets.token_bytes(identifier.RANDOM_BYTES)),
        caller=caller.name,
        budget=str(budget),
        window=usage.first_day,
        threshold=threshold,
        reached=spent * 100 // budget.limit,
        spent=amount_text(spent, unit),
        limit=amount_text(budget.limit, unit),
        created_ms=now_ms,
    )
