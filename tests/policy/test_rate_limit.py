"""GCRA: never more than the burst and the rate allow, and a wait that is exact to the nanosecond."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.policy.rate_limit import MINUTE_NS, Rate, check_rate

rates = st.builds(Rate, st.integers(1, 100_000), st.integers(1, 1_000))
moments = st.integers(0, 10**18)
gaps = st.lists(st.integers(0, 2 * MINUTE_NS) | st.integers(0, 1_000_000), min_size=1, max_size=200)


@pytest.mark.parametrize(
    ("per_minute", "interval"), [(1, MINUTE_NS), (60, 1_000_000_000), (7, 8_571_428_572), (1_000_000, 60_000)]
)
def test_an_interval_is_rounded_up(per_minute: int, interval: int) -> None:
    assert Rate(per_minute, 1).interval_ns == interval


@given(rates, moments)
def test_a_full_bucket_admits_exactly_the_burst(rate: Rate, now: int) -> None:
    tat, passed = 0, 0
    while (told := check_rate(rate, tat, now)).allowed:
        passed += 1
        tat = told.tat_ns
        assert told.remaining == rate.burst - passed
        assert told.reset_ns == passed * rate.interval_ns
    assert passed == rate.burst
    assert (told.remaining, told.wait_ns) == (0, rate.interval_ns)


@given(rates, moments, gaps)
def test_never_more_than_the_burst_and_the_rate(rate: Rate, now: int, gaps: list[int]) -> None:
    tat, passed = 0, []
    for gap in gaps:
        now += gap
        told = check_rate(rate, tat, now)
        if told.allowed:
            tat = told.tat_ns
            passed.append(now)
    for number, begin in enumerate(passed):
        for more, end in enumerate(passed[number:], start=1):
            assert more * MINUTE_NS <= rate.burst * MINUTE_NS + rate.per_minute * (end - begin)


@given(rates, moments, gaps)
def test_the_wait_is_exact(rate: Rate, now: int, gaps: list[int]) -> None:
    tat = 0
    for gap in gaps:
        now += gap
        told = check_rate(rate, tat, now)
        if told.allowed:
            tat = told.tat_ns
            continue
        assert not check_rate(rate, tat, now + told.wait_ns - 1).allowed
        assert check_rate(rate, tat, now + told.wait_ns).allowed


@given(rates, moments, gaps)
def test_a_refused_request_uses_nothing_of_the_rate(rate: Rate, now: int, gaps: list[int]) -> None:
    keeping = asking = 0
    for gap in gaps:
        now += gap
        told = check_rate(rate, keeping, now)
        asking = max(told.tat_ns, now) if told.allowed else told.tat_ns
        if not told.allowed:
            assert asking == keeping
        keeping = asking


@given(rates, moments, gaps)
def test_remaining_passes_at_once_and_reset_is_when_the_whole_burst_does(rate: Rate, now: int, gaps: list[int]) -> None:
    tat = 0
    for gap in gaps[:20]:
        now += gap
        told = check_rate(rate, tat, now)
        if told.allowed:
            tat = told.tat_ns
    assert at_once(rate, tat, now, most=told.remaining + 1) == told.remaining
    assert at_once(rate, tat, now + told.reset_ns, most=rate.burst + 1) == rate.burst
    if told.reset_ns and rate.interval_ns > 1:
        assert at_once(rate, tat, now + told.reset_ns - 1, most=rate.burst + 1) < rate.burst


def at_once(rate: Rate, tat: int, now: int, most: int) -> int:
    """The number of requests that pass at this moment."""
    for passed in range(most):
        told = check_rate(rate, tat, now)
        if not told.allowed:
            return passed
        tat = told.tat_ns
    return most
