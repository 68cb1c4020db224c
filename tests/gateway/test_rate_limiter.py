"""The rate limiter: headers with what is left, and leases that are released on every way out."""

import random
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import APIError
from app.gateway.admission_control import ConcurrencyLease
from app.gateway.caller import Caller
from app.gateway.rate_limiter import RateLimiter
from app.policy.caller_policy import CallerPolicy
from tests.gateway.unread import FORM, admission_control_for, request

MS = 1_000_000


def caller(name: str = "alice", **policy: int) -> Caller:
    return Caller(name, "key_1", CallerPolicy.read(policy))


def refused(limits: RateLimiter, who: Caller, now_ns: int) -> APIError:
    with pytest.raises(APIError) as caught:
        limits.check_rate(who, now_ns)
    return caught.value


def place(limits: RateLimiter, who: Caller) -> ConcurrencyLease:
    return admission_control_for(1_000_000, limits).lease(request(FORM), who)


def test_a_caller_without_a_rate_gets_no_headers() -> None:
    assert RateLimiter().check_rate(caller(), 0) == ()


def test_every_request_gets_headers_with_what_is_left() -> None:
    limits, who = RateLimiter(), caller(rpm=60, burst=3)
    told = [dict(limits.check_rate(who, 0)) for _ in range(3)]
    assert [each[b"x-ratelimit-limit-requests"] for each in told] == [b"60"] * 3
    assert [each[b"x-ratelimit-remaining-requests"] for each in told] == [b"2", b"1", b"0"]
    assert [each[b"x-ratelimit-reset-requests"] for each in told] == [b"1s", b"2s", b"3s"]
    error = refused(limits, who, 0)
    assert (error.status, error.code, error.kind) == (429, "rate_limit_exceeded", "rate_limit_error")
    headers = dict(error.all_headers())
    assert headers[b"x-ratelimit-remaining-requests"] == b"0"
    assert headers[b"x-ratelimit-reset-requests"] == b"3s"
    assert (headers[b"retry-after"], headers[b"retry-after-ms"]) == (b"1", b"1000")
    assert "60 requests a minute" in error.message


@pytest.mark.parametrize(
    ("rpm", "requests", "reset"),
    [
        (240, 1, b"250ms"),
        (60_000, 1, b"1ms"),
        (1_000_000, 1, b"1ms"),
        (60, 1, b"1s"),
        (7, 1, b"8.572s"),
        (1, 1, b"1m0s"),
        (1, 6, b"6m0s"),
        (8, 20, b"2m30s"),
        (7, 8, b"1m8.572s"),
        (60, 60, b"1m0s"),
    ],
)
def test_a_time_is_written_as_openai_writes_it(rpm: int, requests: int, reset: bytes) -> None:
    limits, who = RateLimiter(), caller(rpm=rpm, burst=100)
    told = [dict(limits.check_rate(who, 0)) for _ in range(requests)]
    assert told[-1][b"x-ratelimit-reset-requests"] == reset


@given(st.integers(1, 100_000), st.integers(0, 10**15), st.integers(0, 60_000_000_000))
def test_retry_after_is_exact_to_the_millisecond(rpm: int, now: int, later: int) -> None:
    limits, who = RateLimiter(), caller(rpm=rpm, burst=1)
    limits.check_rate(who, now)
    later %= -(-60_000_000_000 // rpm)
    headers = dict(refused(limits, who, now + later).all_headers())
    wait = int(headers[b"retry-after-ms"])
    assert int(headers[b"retry-after"]) == max(1, -(-wait // 1000))
    refused(limits, who, now + later + (wait - 1) * MS)
    limits.check_rate(who, now + later + wait * MS)


def test_a_wait_of_whole_milliseconds_is_not_a_millisecond_longer() -> None:
    limits, who = RateLimiter(), caller(rpm=1, burst=1)
    limits.check_rate(who, 0)
    for wait in range(1, 60_001):
        headers = dict(refused(limits, who, (60_000 - wait) * MS).all_headers())
        assert int(headers[b"retry-after-ms"]) == wait


def test_callers_share_no_rate_and_no_concurrency() -> None:
    limits = RateLimiter()
    alice, bob = (caller(name, rpm=1, burst=1, concurrency=1) for name in ("alice", "bob"))
    limits.check_rate(alice, 0)
    limits.check_rate(bob, 0)
    with place(limits, alice), place(limits, bob):
        assert limits.in_flight == {"alice": 1, "bob": 1}


def test_two_keys_of_one_caller_share_rate_and_concurrency() -> None:
    limits = RateLimiter()
    first, second = (Caller("alice", key, CallerPolicy(rpm=1, burst=1)) for key in ("key_1", "key_2"))
    limits.check_rate(first, 0)
    refused(limits, second, 0)


def test_a_changed_rate_applies_at_once() -> None:
    limits = RateLimiter()
    limits.check_rate(caller(rpm=1, burst=1), 0)
    refused(limits, caller(rpm=1, burst=1), 0)
    limits.check_rate(caller(rpm=60, burst=100), 0)
    assert limits.check_rate(caller(), 0) == ()


def test_a_request_above_the_concurrency_is_refused() -> None:
    limits, who = RateLimiter(), caller(concurrency=3)
    with ExitStack() as places:
        for _ in range(3):
            places.enter_context(place(limits, who))
        with pytest.raises(APIError) as caught, place(limits, who):
            pass
        assert limits.in_flight == {"alice": 3}
    error = caught.value
    assert (error.status, error.code) == (429, "rate_limit_exceeded")
    assert "3 requests at once" in error.message
    assert dict(error.all_headers())[b"retry-after-ms"] == b"1000"
    assert limits.in_flight == {}


@pytest.mark.parametrize("error", [LookupError(), APIError(500, "x", "x"), KeyboardInterrupt(), GeneratorExit()])
def test_a_lease_is_released_on_every_way_out(error: BaseException) -> None:
    limits, who, seen = RateLimiter(), caller(concurrency=1), []

    def fail() -> None:
        seen.append(dict(limits.in_flight))
        raise error

    with pytest.raises(type(error)), place(limits, who):
        fail()
    assert seen == [{"alice": 1}]
    assert limits.in_flight == {}


def test_leases_are_released_in_any_order() -> None:
    limits, chance = RateLimiter(), random.Random(0)
    callers = [caller(name) for name in ("alice", "bob", "carol")]
    taken: list[ExitStack] = []
    for _ in range(1000):
        if taken and chance.random() < 0.5:
            taken.pop(chance.randrange(len(taken))).close()
        else:
            taking = ExitStack()
            taking.enter_context(place(limits, chance.choice(callers)))
            taken.append(taking)
        assert sum(limits.in_flight.values()) == len(taken)
    for taking in taken:
        taking.close()
    assert limits.in_flight == {}
