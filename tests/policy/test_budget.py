"""Budgets: their text, their windows, and the decisions."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.policy.budget import (
    MS_PER_MINUTE,
    Amounts,
    Budget,
    BudgetDecision,
    Unit,
    Window,
    amount_text,
    decide,
    first_day,
    next_day,
)
from app.units import NANO_PER_USD

DAY_MS = 86_400_000

# In minutes a text can tell multiples of 3 ms: 0.00005 min.
limits = st.integers(1, (1 << 62) - 1) | st.integers(1, 10**9)
budgets = st.builds(
    lambda limit, unit, window: Budget(max(3, limit - limit % 3) if unit is Unit.MINUTES else limit, unit, window),
    limits,
    st.sampled_from(Unit),
    st.sampled_from(Window),
)
moments = st.integers(0, 4_102_444_800_000)  # 1970 to 2100
amounts = st.integers(0, 1_000)


@pytest.mark.parametrize(
    ("text", "limit", "unit", "window"),
    [
        ("50usd/month", 50 * NANO_PER_USD, Unit.USD, Window.MONTH),
        ("0.000000001usd", 1, Unit.USD, Window.TOTAL),
        ("20USD", 20 * NANO_PER_USD, Unit.USD, Window.TOTAL),
        (" 600min/day ", 600 * MS_PER_MINUTE, Unit.MINUTES, Window.DAY),
        ("0.5min/week", 30_000, Unit.MINUTES, Window.WEEK),
        ("0.00005min/day", 3, Unit.MINUTES, Window.DAY),
        ("1000000tokens/week", 1_000_000, Unit.TOKENS, Window.WEEK),
        ("7.0tokens/total", 7, Unit.TOKENS, Window.TOTAL),
    ],
)
def test_a_budget_is_parsed_from_its_text(text: str, limit: int, unit: Unit, window: Window) -> None:
    assert Budget.parse(text) == Budget(limit, unit, window)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "50",
        "usd",
        "50 usd",
        "-1usd",
        "+1usd",
        "1e3usd",
        ".5usd",
        "5.usd",
        "nanusd",
        "50eur/month",
        "50usd/year",
        "50usd/",
        "50usd/month/day",
        "50usd/month\n50usd/day",
        "0usd",
        "0.0min/day",
        "0.0000000001usd",
        "0.5tokens",
        "0.00001min",
        "4611686018427387904tokens",
        "9" * 400 + "usd",
    ],
)
def test_any_other_text_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="budget") as caught:
        Budget.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["9" * 1_000_000 + "usd", "0." + "0" * 1_000_000 + "1usd"], ids=["large", "fine"])
def test_a_very_long_text_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="too long for a budget") as caught:
        Budget.parse(text)
    assert len(str(caught.value)) < 100


@given(budgets)
def test_a_budget_survives_its_text(budget: Budget) -> None:
    assert Budget.parse(str(budget)) == budget


@given(st.integers(0, 1 << 62), st.sampled_from(Unit))
def test_an_amount_is_written_without_an_exponent(amount: int, unit: Unit) -> None:
    text = amount_text(amount, unit)
    assert text.replace(".", "", 1).isdigit()
    assert not text.endswith(".")
    assert "." not in text or not text.endswith("0")


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("now", "window", "begun", "following"),
    [
        ("2026-11-22T13:00:00", Window.DAY, "2026-11-22", "2026-11-23"),
        ("2026-12-31T23:59:59.999", Window.DAY, "2026-12-31", "2027-01-01"),
        ("2027-01-01T00:00:00", Window.DAY, "2027-01-01", "2027-01-02"),
        ("2028-02-28T12:00:00", Window.DAY, "2028-02-28", "2028-02-29"),
        ("2026-11-22T23:59:59.999", Window.WEEK, "2026-11-16", "2026-11-23"),  # a Sunday
        ("2026-11-23T00:00:00", Window.WEEK, "2026-11-23", "2026-11-30"),  # a Monday
        ("2027-01-01T08:00:00", Window.WEEK, "2026-12-28", "2027-01-04"),
        ("2028-02-29T08:00:00", Window.MONTH, "2028-02-01", "2028-03-01"),
        ("2027-02-28T23:59:59.999", Window.MONTH, "2027-02-01", "2027-03-01"),
        ("2026-12-31T23:59:59.999", Window.MONTH, "2026-12-01", "2027-01-01"),
        ("2026-01-31T00:00:00", Window.MONTH, "2026-01-01", "2026-02-01"),
        ("2100-02-28T23:00:00", Window.MONTH, "2100-02-01", "2100-03-01"),
        ("2026-11-22T13:00:00", Window.TOTAL, "1970-01-01", None),
    ],
)
def test_windows(now: str, window: Window, begun: str, following: str | None) -> None:
    assert first_day(window, ms(now)).isoformat() == begun
    assert next_day(window, ms(now)) == (None if following is None else date.fromisoformat(following))


@given(moments, st.sampled_from([Window.DAY, Window.WEEK, Window.MONTH]))
def test_windows_follow_each_other_without_a_gap(now: int, window: Window) -> None:
    begun, following = first_day(window, now), next_day(window, now)
    assert following is not None
    assert midnight(begun) <= now < midnight(following)
    assert first_day(window, midnight(following)) == following
    assert first_day(window, midnight(following) - 1) == begun
    assert (
        following - begun
        in {
            Window.DAY: {timedelta(1)},
            Window.WEEK: {timedelta(7)},
            Window.MONTH: {timedelta(days) for days in range(28, 32)},
        }[window]
    )
    if window is Window.WEEK:
        assert begun.isoweekday() == 1
    if window is Window.MONTH:
        assert begun.day == 1


def midnight(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY_MS


@pytest.mark.parametrize(
    ("settled", "held", "bound", "verdict"),
    [
        (0, 0, 10, BudgetDecision.ADMIT),
        (0, 0, 11, BudgetDecision.ADMIT),  # nothing is held: one at a time
        (9, 0, 1000, BudgetDecision.ADMIT),
        (5, 3, 2, BudgetDecision.ADMIT),
        (5, 3, 3, BudgetDecision.RESERVED),
        (0, 1, 10, BudgetDecision.RESERVED),
        (10, 0, 0, BudgetDecision.SPENT),
        (10, 5, 1, BudgetDecision.SPENT),
        (25, 0, 1, BudgetDecision.SPENT),
    ],
)
def test_decisions_on_a_limit_of_ten(settled: int, held: int, bound: int, verdict: BudgetDecision) -> None:
    assert decide(10, settled, held, bound) is verdict


@given(st.integers(1, 1_000), amounts, st.lists(amounts))
def test_settled_and_held_exceed_the_limit_by_one_bound_at_most(limit: int, settled: int, bounds: list[int]) -> None:
    held, largest = 0, 0
    for bound in bounds:
        if decide(limit, settled, held, bound) is BudgetDecision.ADMIT:
            held += bound
            largest = max(largest, bound)
            assert settled + held - limit <= largest
        else:
            assert settled >= limit or (held > 0 and settled + held + bound > limit)


steps = st.lists(st.tuples(st.sampled_from(["reserve", "revise", "close"]), st.integers(0, 9), amounts), max_size=60)


@given(st.integers(1, 2_000), steps)
def test_no_interleaving_exceeds_a_limit_by_more_than_one_request_may_cost(
    limit: int, steps: list[tuple[str, int, int]]
) -> None:
    """Each request closes at its hold or below; the one that was let through alone may be the dearest."""
    settled, holds, dearest = 0, list[int](), 0
    for step, which, amount in steps:
        own = which % len(holds) if holds else None
        if step == "reserve" and decide(limit, settled, sum(holds), amount) is BudgetDecision.ADMIT:
            holds.append(amount)
        elif step == "revise" and own is not None:
            others = sum(holds) - holds[own]
            if amount <= holds[own] or decide(limit, settled, others, amount) is BudgetDecision.ADMIT:
                holds[own] = amount
        elif step == "close" and own is not None:
            settled += min(holds.pop(own), amount)
        dearest = max([dearest, *holds])
        assert all(hold >= 0 for hold in holds)
        assert settled + sum(holds) <= limit + dearest
    for hold in holds:
        settled += hold
    assert settled <= limit + dearest


def test_amounts_by_unit() -> None:
    each = Amounts(cost=1, audio=2, tokens=3)
    assert [each.of(unit) for unit in Unit] == [1, 2, 3]
