"""What every caller has spent and holds, window by window, decided in memory and kept in step with the ledger.

A tab is read from the ledger at a caller's first request, when none of his is in flight; from then on every hold and
every outcome passes through here in the same order in which it is written. So a budget that is added or changed later
is exact at once. A request counts in the windows of its admission.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple, Protocol

from app import errors
from app.errors import Refusal
from app.gateway.auth import Caller
from app.policy.budget import (
    MS_PER_DAY,
    NOTHING,
    Amounts,
    Budget,
    Verdict,
    Window,
    amount_text,
    first_day,
    judge,
    next_day,
)
from app.wire import identifier

RESERVED_RETRY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What a caller's closed rows come to since each of some days; `resolution` is the last one that is in it."""

    since: tuple[Amounts, ...]
    resolution: int


class Spending(Protocol):
    """What the ledger has on its rows that are closed, all of it at one moment."""

    def spent(self, caller: str, days: Sequence[date]) -> Spent: ...


@dataclass(frozen=True, slots=True)
class Notice:
    """That a caller has spent so much of a budget, in percent; there is one for each threshold and window."""

    id: str
    caller: str
    budget: str
    window: date
    threshold: int
    spent: str
    limit: str
    created_ms: int

    def document(self) -> dict[str, object]:
        """The webhook's body."""
        return {
            "id": self.id,
            "type": "budget.threshold_reached",
            "created": self.created_ms // 1000,
            "caller": self.caller,
            "budget": self.budget,
            "window_began": self.window.isoformat(),
            "threshold_percent": self.threshold,
            "spent": self.spent,
            "limit": self.limit,
        }


@dataclass(slots=True)
class Sum:
    """One window of one caller: what is settled, what is held, by how many, and which notices were given of it."""

    begun: date
    settled: Amounts
    held: Amounts = NOTHING
    holds: int = 0
    noticed: set[tuple[Budget, int]] = field(default_factory=set)


@dataclass(slots=True)
class Tab:
    """One caller's windows on a day (counted from the epoch), and the last resolution that was in the ledger when they
    were read from it.
    """

    day: int
    sums: Mapping[Window, Sum]
    resolution: int


class Reservation(NamedTuple):
    """The hold of one request in all windows; closed once, with what the request came to."""

    caller: Caller
    sums: Mapping[Window, Sum]
    bound: Amounts
    thresholds: tuple[int, ...]

    def close(self, actual: Amounts, now_ms: int) -> tuple[Notice, ...]:
        """Put what the request came to in the place of its hold; the notices that this gives rise to."""
        for each in self.sums.values():
            each.held = each.held.less(self.bound)
            each.holds -= 1
            each.settled = each.settled.plus(actual)
        return tuple(self._notices(now_ms)) if actual != NOTHING else ()

    def _notices(self, now_ms: int) -> Iterator[Notice]:
        for budget in self.caller.terms.budgets:
            each = self.sums[budget.window]
            spent = each.settled.of(budget.unit)
            for threshold in self.thresholds:
                if spent * 100 >= budget.limit * threshold and (budget, threshold) not in each.noticed:
                    each.noticed.add((budget, threshold))
                    yield _notice(self.caller, budget, each, threshold, now_ms)


class Budgets:
    """Every caller's tab: a sum for each window. Notices are given at these shares of a budget, in percent."""

    def __init__(
        self, spending: Spending, thresholds: tuple[int, ...] = (), tabs: dict[str, Tab] | None = None
    ) -> None:
        self._spending = spending
        self._thresholds = thresholds
        self._tabs = {} if tabs is None else tabs

    def noticed_at(self, thresholds: tuple[int, ...]) -> "Budgets":
        """The same tabs, with notices at other shares from the next hold on."""
        return Budgets(self._spending, thresholds, self._tabs)

    def check_spent(self, caller: Caller, now_ms: int) -> None:
        """Refusal 429 `insufficient_quota` if a budget is spent: known before the body is read."""
        sums = self._sums(caller.name, now_ms)
        for budget in caller.terms.budgets:
            if sums[budget.window].settled.of(budget.unit) >= budget.limit:
                raise _spent(budget, now_ms)

    def reserve(self, caller: Caller, bound: Amounts, now_ms: int) -> Reservation:
        """Hold this much in every window; Refusal 429 if a budget has no room for it, now or at all."""
        sums, reserved = self._sums(caller.name, now_ms), None
        for budget in caller.terms.budgets:
            verdict = _judged(budget, sums[budget.window], bound)
            if verdict is Verdict.SPENT:
                raise _spent(budget, now_ms)
            if verdict is Verdict.RESERVED:
                reserved = reserved or budget
        if reserved is not None:
            raise _reserved(reserved)
        for each in sums.values():
            each.held = each.held.plus(bound)
            each.holds += 1
        return Reservation(caller, sums, bound, self._thresholds)

    def adjust(self, caller: str, resolution: int, admitted_ms: int, change: Amounts) -> None:
        """Take in that a row which was closed has been resolved otherwise, if the caller's tab was read before."""
        tab = self._tabs.get(caller)
        if tab is None or resolution <= tab.resolution:
            return
        for window, each in tab.sums.items():
            if first_day(window, admitted_ms) == each.begun:
                each.settled = each.settled.plus(change)

    @property
    def held(self) -> int:
        """How many holds there are: 0 at idle."""
        return sum(tab.sums[Window.TOTAL].holds for tab in list(self._tabs.values()))

    def used(self, caller: Caller, now_ms: int) -> Iterator[tuple[Budget, float]]:
        """How much of each of the caller's budgets is spent or held, 1 being all, if his tab has been read."""
        tab = self._tabs.get(caller.name)
        if tab is None:
            return
        for budget in caller.terms.budgets:
            each = tab.sums[budget.window]
            if each.begun < first_day(budget.window, now_ms):
                yield budget, 0.0
            else:
                yield budget, (each.settled.of(budget.unit) + each.held.of(budget.unit)) / budget.limit

    def _sums(self, caller: str, now_ms: int) -> Mapping[Window, Sum]:
        """The caller's current windows; one that has passed is left to the requests that it still counts."""
        tab, day = self._tabs.get(caller), now_ms // MS_PER_DAY
        if tab is None:
            days = [first_day(window, now_ms) for window in Window]
            spent = self._spending.spent(caller, days)
            tab = Tab(day, dict(zip(Window, map(Sum, days, spent.since), strict=True)), spent.resolution)
            self._tabs[caller] = tab
        elif day > tab.day:
            tab.day, tab.sums = day, {window: _current(each, window, now_ms) for window, each in tab.sums.items()}
        return tab.sums


def _current(each: Sum, window: Window, now_ms: int) -> Sum:
    begun = first_day(window, now_ms)
    return Sum(begun, NOTHING) if begun > each.begun else each


def _judged(budget: Budget, each: Sum, bound: Amounts) -> Verdict:
    unit = budget.unit
    return judge(budget.limit, each.settled.of(unit), each.held.of(unit), bound.of(unit))


def _spent(budget: Budget, now_ms: int) -> Refusal:
    return errors.insufficient_quota(str(budget), next_day(budget.window, now_ms))


def _reserved(budget: Budget) -> Refusal:
    return errors.budget_reserved(str(budget), RESERVED_RETRY_SECONDS)


def _notice(caller: Caller, budget: Budget, each: Sum, threshold: int, now_ms: int) -> Notice:
    unit = budget.unit
    return Notice(
        id=identifier.time_ordered("ntc_", now_ms, secrets.token_bytes(identifier.RANDOM_BYTES)),
        caller=caller.name,
        budget=str(budget),
        window=each.begun,
        threshold=threshold,
        spent=amount_text(each.settled.of(unit), unit),
        limit=amount_text(budget.limit, unit),
        created_ms=now_ms,
    )
