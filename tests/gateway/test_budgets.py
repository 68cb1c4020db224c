"""Budgets against a naive model that computes every decision and every sum from the list of all requests."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from app.errors import APIError
from app.gateway.budgets import Budgets, Reservation, WindowUsage
from app.gateway.caller import Caller
from app.gateway.ledger_rows import BudgetAlert, ClosedUsage, Days
from app.policy.budget import NOTHING, Amounts, Budget, Unit, Window, first_day
from app.policy.caller_policy import CallerPolicy
from app.units import iso_time

DAY_MS = 86_400_000
THRESHOLDS = (80, 95, 100)
NAMES = ("alice", "bob")

# A Tuesday; the week turns on a Monday, the month on the next Tuesday.
BEGIN_MS = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()) * 1000

small = st.integers(0, 20)
amounts = st.builds(Amounts, small, small, small)
some_budgets = st.lists(
    st.builds(Budget, st.integers(1, 60), st.sampled_from(Unit), st.sampled_from(Window)),
    unique_by=lambda budget: (budget.unit, budget.window),
    max_size=4,
).map(tuple)
callers = st.sampled_from(NAMES)


@dataclass
class Request:
    """One admitted request as the model sees it."""

    caller: Caller
    admitted_ms: int
    bound: Amounts
    reservation: Reservation | None
    charge: Amounts | None = None


@dataclass
class ModelLedger:
    """All requests there ever were, and how many were resolved: sums are made anew whenever they are asked for."""

    requests: list[Request] = field(default_factory=list)
    resolutions: int = 0

    def spent(self, caller: str, periods: Sequence[Days]) -> ClosedUsage:
        closed = [(day_of(each), each.charge) for each in self.of(caller) if each.charge is not None]
        sums = [summed(charge for at, charge in closed if begun <= at < (ends or date.max)) for begun, ends in periods]
        return ClosedUsage(tuple(sums), self.resolutions)

    def of(self, caller: str) -> list[Request]:
        return [each for each in self.requests if each.caller.name == caller]


def day_of(request: Request) -> date:
    return first_day(Window.DAY, request.admitted_ms)


def summed(found: Iterable[Amounts]) -> Amounts:
    listed = list(found)
    return Amounts(*(sum(each.of(unit) for each in listed) for unit in (Unit.USD, Unit.MINUTES, Unit.TOKENS)))


class BudgetsMachine(RuleBasedStateMachine):
    """Requests of several callers in any order, over days and months, their budgets changed in between."""

    open_requests = Bundle("open_requests")
    unknown_requests = Bundle("unknown_requests")

    @initialize()
    def begin(self) -> None:
        self.now_ms = BEGIN_MS
        self.ledger = ModelLedger()
        self.budgets = Budgets(self.ledger, THRESHOLDS)
        self.policy = dict.fromkeys(NAMES, CallerPolicy())
        self.alerted: set[tuple[str, Budget, date, int]] = set()
        self.resolved_in_the_past = False
        self.went_back = False

    @rule(name=callers, budgets=some_budgets)
    def change_budgets(self, name: str, budgets: tuple[Budget, ...]) -> None:
        self.policy[name] = CallerPolicy(budgets=budgets)

    @rule(hours=st.sampled_from([0, 1, 6, 11, 12, 13, 24, 7 * 24, 31 * 24]), less=st.integers(0, 1))
    def pass_time(self, hours: int, less: int) -> None:
        self.now_ms += max(0, hours * 3_600_000 - less)

    @rule(hours=st.sampled_from([1, 13, 24, 7 * 24, 45 * 24]))
    def turn_the_clock_back(self, hours: int) -> None:
        self.now_ms -= hours * 3_600_000
        self.went_back = True

    @rule(request=open_requests, bound=amounts)
    def revise(self, request: Request, bound: Amounts) -> None:
        """The length of the audio has been measured: the hold becomes what that may cost."""
        if request.reservation is None or request.charge is not None:
            return
        expected, before = self.expected_of_revision(request, bound), request.bound
        if expected is not None:
            with pytest.raises(APIError) as caught:
                request.reservation.revise(bound, self.now_ms)
            assert caught.value.code == expected
            assert request.reservation.bound == before
            return
        raised = request.reservation.revise(bound, self.now_ms)
        assert raised == any(bound.of(unit) > before.of(unit) for unit in Unit)
        request.bound = bound

    @rule(target=open_requests, name=callers, bound=amounts)
    def reserve(self, name: str, bound: Amounts) -> object:
        caller, expected = self.caller(name), self.expected(name, bound)
        held_before = {budget: self.naive(name, budget)[1] for budget in caller.policy.budgets}
        if expected is not None:
            assert refused(self.budgets, caller, bound, self.now_ms).code == expected
            return multiple()
        request = Request(caller, self.now_ms, bound, self.budgets.reserve(caller, bound, self.now_ms))
        self.ledger.requests.append(request)
        for budget in caller.policy.budgets:
            settled, held = self.naive(name, budget)
            over = settled + held - budget.limit
            assert over <= 0 or (held_before[budget] == 0 and over < bound.of(budget.unit))
        return request

    @rule(name=callers)
    def look_before_the_body(self, name: str) -> None:
        caller = self.caller(name)
        if self.is_spent(name):
            with pytest.raises(APIError) as caught:
                self.budgets.check_spent(caller, self.now_ms)
            assert caught.value.code == "insufficient_quota"
        else:
            self.budgets.check_spent(caller, self.now_ms)

    @rule(request=consumes(open_requests), actual=amounts)
    def settle(self, request: Request, actual: Amounts) -> None:
        self.close(request, actual)

    @rule(request=consumes(open_requests))
    def release(self, request: Request) -> None:
        self.close(request, NOTHING)

    @rule(target=unknown_requests, request=consumes(open_requests))
    def lose_sight(self, request: Request) -> Request:
        self.close(request, request.bound)
        return request

    @rule(request=consumes(unknown_requests), charge=amounts, restarted=st.booleans(), asks=st.booleans())
    def resolve(self, request: Request, charge: Amounts, restarted: bool, asks: bool) -> None:
        """The caller may ask between the commit of the resolution and the moment in which the gateway sees it."""
        if restarted:
            self.restart()
        before, request.charge = request.charge, charge
        assert before is not None
        change = Amounts(charge.cost - before.cost, charge.audio - before.audio, charge.tokens - before.tokens)
        self.ledger.resolutions += 1
        # A window that has passed does not take in resolutions, so requests that still count in it tell less.
        self.resolved_in_the_past |= first_day(Window.DAY, self.now_ms) > day_of(request)
        if asks:
            self.windows(request.caller.name)
        self.budgets.adjust(request.caller.name, self.ledger.resolutions, request.admitted_ms, change)

    @rule()
    def restart(self) -> None:
        """Open requests become unknown, charged at their bound. The rest is read from the ledger."""
        for request in self.ledger.requests:
            if request.charge is None:
                request.charge, request.reservation = request.bound, None
        self.budgets = Budgets(self.ledger, THRESHOLDS)
        self.alerted = set()

    @invariant()
    def sums_are_conserved(self) -> None:
        for name in NAMES:
            sums = self.windows(name)
            for window in Window:
                for unit in Unit:
                    each, (settled, held) = sums[window], self.naive(name, Budget(1, unit, window))
                    assert (each.settled.of(unit), each.held.of(unit)) == (settled, held)
            for budget in self.policy[name].budgets:
                each, (settled, held) = sums[budget.window], self.naive(name, budget)
                left = budget.limit - each.settled.of(budget.unit) - each.held.of(budget.unit)
                assert left + held + settled == budget.limit

    @invariant()
    def no_hold_is_left_at_idle(self) -> None:
        still = [each for each in self.ledger.requests if each.charge is None]
        assert self.budgets.held == len(still)
        if not still:
            assert all(each.held == NOTHING for name in NAMES for each in self.windows(name).values())

    def caller(self, name: str) -> Caller:
        return Caller(name, "key_1", self.policy[name])

    def windows(self, name: str) -> Mapping[Window, WindowUsage]:
        """The windows that a request without a bound and a budget gets."""
        reservation = self.budgets.reserve(Caller(name, "key_1", CallerPolicy()), NOTHING, self.now_ms)
        assert reservation.close(NOTHING, self.now_ms) == ()
        return reservation.windows

    def naive(self, name: str, budget: Budget, at_ms: int | None = None) -> tuple[int, int]:
        """Settled and held of the window that holds this moment."""
        begun = first_day(budget.window, self.now_ms if at_ms is None else at_ms)
        found = [each for each in self.ledger.of(name) if first_day(budget.window, each.admitted_ms) == begun]
        settled = sum(each.charge.of(budget.unit) for each in found if each.charge is not None)
        return settled, sum(each.bound.of(budget.unit) for each in found if each.charge is None)

    def is_spent(self, name: str) -> bool:
        return any(self.naive(name, budget)[0] >= budget.limit for budget in self.policy[name].budgets)

    def expected(self, name: str, bound: Amounts) -> str | None:
        """The definition."""
        if self.is_spent(name):
            return "insufficient_quota"
        for budget in self.policy[name].budgets:
            settled, held = self.naive(name, budget)
            if held and settled + held + bound.of(budget.unit) > budget.limit:
                return "budget_reserved"
        return None

    def expected_of_revision(self, request: Request, bound: Amounts) -> str | None:
        """The same definition, of the budgets of which more is held, in the windows of the request's admission."""
        codes = []
        for budget in request.caller.policy.budgets:
            own, wanted = request.bound.of(budget.unit), bound.of(budget.unit)
            settled, held = self.naive(request.caller.name, budget, request.admitted_ms)
            if wanted > own and settled >= budget.limit:
                codes.append("insufficient_quota")
            elif wanted > own and held > own and settled + held - own + wanted > budget.limit:
                codes.append("budget_reserved")
        return max(codes, default=None)

    def close(self, request: Request, actual: Amounts) -> None:
        if request.reservation is None:  # a restart has closed it
            return
        alerts = request.reservation.close(actual, self.now_ms)
        request.charge, request.reservation = actual, None
        expected = self.expected_notices(request)
        if not (self.resolved_in_the_past or self.went_back):
            assert [told(alert) for alert in alerts] == expected
        assert len({told(alert) for alert in alerts}) == len(alerts)
        assert len({alert.id for alert in alerts}) == len(alerts)

    def expected_notices(self, request: Request) -> list[tuple[str, str, date, int]]:
        found = []
        for budget in request.caller.policy.budgets if request.charge != NOTHING else ():
            begun = first_day(budget.window, request.admitted_ms)
            settled, _ = self.naive(request.caller.name, budget, request.admitted_ms)
            for threshold in THRESHOLDS:
                mark = (request.caller.name, budget, begun, threshold)
                if settled * 100 >= budget.limit * threshold and mark not in self.alerted:
                    self.alerted.add(mark)
                    found.append((request.caller.name, str(budget), begun, threshold))
        return found


def told(alert: BudgetAlert) -> tuple[str, str, date, int]:
    return alert.caller, alert.budget, alert.window, alert.threshold


BudgetsMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestBudgets = BudgetsMachine.TestCase


NOON = BEGIN_MS


def alice(*budgets: str) -> Caller:
    return Caller("alice", "key_1", CallerPolicy.read({"budgets": list(budgets)}))


def refused(budgets: Budgets, caller: Caller, bound: Amounts, now_ms: int = NOON) -> APIError:
    with pytest.raises(APIError) as caught:
        budgets.reserve(caller, bound, now_ms)
    return caught.value


def test_the_error_of_a_spent_budget_states_when_it_resets() -> None:
    budgets, caller = Budgets(ModelLedger(), THRESHOLDS), alice("10tokens/week")
    budgets.reserve(caller, Amounts(tokens=4), NOON).close(Amounts(tokens=12), NOON)
    error = refused(budgets, caller, NOTHING)
    assert (error.status, error.code, error.kind, error.retry) == (
        429,
        "insufficient_quota",
        "insufficient_quota",
        False,
    )
    assert "10tokens/week" in error.message
    assert "2026-11-30" in error.message
    assert (b"x-should-retry", b"false") in error.all_headers()


def test_a_total_budget_never_resets() -> None:
    budgets, caller = Budgets(ModelLedger(), THRESHOLDS), alice("10tokens")
    budgets.reserve(caller, Amounts(tokens=4), NOON).close(Amounts(tokens=10), NOON)
    assert "anew" not in refused(budgets, caller, NOTHING, NOON + 4000 * DAY_MS).message


def test_a_budget_that_is_only_held_invites_a_retry() -> None:
    budgets, caller = Budgets(ModelLedger(), THRESHOLDS), alice("10tokens/day")
    held = budgets.reserve(caller, Amounts(tokens=8), NOON)
    error = refused(budgets, caller, Amounts(tokens=3))
    assert (error.status, error.code, error.kind) == (429, "budget_reserved", "rate_limit_error")
    headers = dict(error.all_headers())
    assert (headers[b"retry-after"], headers[b"retry-after-ms"]) == (b"2", b"2000")
    assert b"x-should-retry" not in headers
    held.close(NOTHING, NOON)
    budgets.reserve(caller, Amounts(tokens=3), NOON)


def test_a_spent_budget_comes_before_one_that_is_only_held() -> None:
    budgets, caller = Budgets(ModelLedger(), THRESHOLDS), alice("10tokens/day", "1min/day")
    budgets.reserve(caller, Amounts(tokens=8), NOON)
    budgets.reserve(caller, Amounts(audio=1), NOON).close(Amounts(audio=60_000), NOON)
    assert refused(budgets, caller, Amounts(tokens=3)).code == "insufficient_quota"


def test_requests_that_hold_nothing_of_a_budget_block_none() -> None:
    budgets, caller = Budgets(ModelLedger(), THRESHOLDS), alice("10tokens/day")
    budgets.reserve(caller, Amounts(cost=5), NOON)
    budgets.reserve(caller, Amounts(tokens=11), NOON)
    assert refused(budgets, caller, Amounts(tokens=1)).code == "budget_reserved"


def test_a_request_counts_in_the_day_of_its_admission() -> None:
    budgets, caller = Budgets(ModelLedger(), THRESHOLDS), alice("10tokens/day")
    late = budgets.reserve(caller, Amounts(tokens=10), NOON)
    budgets.check_spent(caller, NOON + DAY_MS)
    alerts = late.close(Amounts(tokens=10), NOON + DAY_MS)
    assert {alert.window for alert in alerts} == {date(2026, 11, 24)}
    assert [alert.threshold for alert in alerts] == [80, 95, 100]
    budgets.check_spent(caller, NOON + DAY_MS)


def test_the_document_of_an_alert() -> None:
    budgets, caller = Budgets(ModelLedger(), (50,)), alice("0.5min/month")
    (alert,) = budgets.reserve(caller, NOTHING, NOON).close(Amounts(audio=20_001), NOON)
    document = alert.document()
    assert document.pop("id") == alert.id
    assert document == {
        "type": "budget.threshold_reached",
        "created_at": iso_time(NOON),
        "caller": "alice",
        "budget": "0.5min/month",
        "window_began": "2026-11-01",
        "threshold_percent": 50,
        "spent_percent": 66,
        "spent": "0.33335",
        "limit": "0.5",
    }


def test_a_request_made_while_the_clock_was_ahead_blocks_no_budget_after_its_correction() -> None:
    ledger = ModelLedger()
    budgets, caller = Budgets(ledger, THRESHOLDS), alice("10tokens/day")
    ahead = NOON + 45 * DAY_MS
    request = Request(caller, ahead, Amounts(tokens=10), budgets.reserve(caller, Amounts(tokens=10), ahead))
    ledger.requests.append(request)
    assert request.reservation is not None
    request.reservation.close(Amounts(tokens=10), ahead)
    request.charge = Amounts(tokens=10)
    with pytest.raises(APIError):
        budgets.check_spent(caller, ahead)
    for day in range(45):
        for known in (budgets, Budgets(ledger, THRESHOLDS)):  # as it runs on, and after a restart
            known.check_spent(caller, NOON + day * DAY_MS)
    with pytest.raises(APIError):
        budgets.check_spent(caller, ahead)


def test_a_hold_counts_in_its_window_when_the_clock_leaves_and_returns() -> None:
    budgets, caller = Budgets(ModelLedger(), THRESHOLDS), alice("10tokens/day")
    held = budgets.reserve(caller, Amounts(tokens=8), NOON)
    budgets.reserve(caller, Amounts(tokens=10), NOON + DAY_MS).close(NOTHING, NOON)
    budgets.reserve(caller, Amounts(tokens=10), NOON - DAY_MS).close(NOTHING, NOON)
    assert refused(budgets, caller, Amounts(tokens=3)).code == "budget_reserved"
    held.close(Amounts(tokens=10), NOON)
    assert refused(budgets, caller, NOTHING).code == "insufficient_quota"


def test_a_lowered_hold_makes_room_and_a_raised_hold_needs_room() -> None:
    budgets, caller = Budgets(ModelLedger(), THRESHOLDS), alice("10tokens/day")
    first = budgets.reserve(caller, Amounts(tokens=600), NOON)
    assert refused(budgets, caller, Amounts(tokens=1)).code == "budget_reserved"
    assert first.revise(Amounts(tokens=6), NOON) is False
    second = budgets.reserve(caller, Amounts(tokens=1), NOON)
    with pytest.raises(APIError) as caught:
        second.revise(Amounts(tokens=5), NOON)
    assert (caught.value.code, second.bound) == ("budget_reserved", Amounts(tokens=1))
    first.close(Amounts(tokens=10), NOON)
    with pytest.raises(APIError) as caught:
        second.revise(Amounts(tokens=5), NOON)
    assert (caught.value.code, caught.value.retry) == ("insufficient_quota", False)
    second.close(NOTHING, NOON)
    assert budgets.held == 0
