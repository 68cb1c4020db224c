import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import APIError
from app.policy.quota import Quota, QuotaShare

TOTAL = 1024


def most_of(quota: Quota, caller: str) -> int:
    """The number of bytes that this caller gets."""
    taken = 0
    while True:
        try:
            quota.take(caller, 1)
        except APIError:
            return taken
        taken += 1


def test_each_caller_gets_three_quarters_of_what_the_others_leave() -> None:
    quota = Quota(TOTAL, "the memory for tests")
    assert [most_of(quota, caller) for caller in "abc"] == [768, 192, 48]
    assert quota.used == 1008


def test_released_bytes_can_be_taken_again() -> None:
    quota = Quota(TOTAL, "the memory for tests")
    quota.take("a", 768)
    with pytest.raises(APIError, match="the memory for tests, or your share of it, is full") as caught:
        quota.take("a", 1)
    assert (caught.value.status, caught.value.code) == (503, "overloaded")
    quota.release("a", 768)
    assert quota.used == 0
    quota.take("b", 768)


def test_the_first_bytes_of_a_request_are_never_refused() -> None:
    quota = Quota(0, "the memory for tests")
    held = QuotaShare(quota, "a", free=100)
    held.resize(100)
    with pytest.raises(APIError):
        held.resize(101)
    assert quota.used == 0


def test_a_refused_request_holds_nothing() -> None:
    """If many requests grow in step, some of them can continue."""
    quota = Quota(TOTAL, "the memory for tests")
    growing = [QuotaShare(quota, "a") for _ in range(10)]
    for size in range(100, 700, 100):
        for held in list(growing):
            try:
                held.resize(size)
            except APIError:
                growing.remove(held)
    assert len(growing) == 1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2000)), max_size=30))
def test_held_bytes_stay_within_the_total_and_are_all_released(steps: list[tuple[str, int]]) -> None:
    quota = Quota(TOTAL, "the memory for tests")
    held = {caller: QuotaShare(quota, caller, free=10) for caller in "abc"}
    for caller, size in steps:
        try:
            held[caller].resize(size)
        except APIError:
            assert size > 10
        assert 0 <= quota.used <= TOTAL
    for each in held.values():
        each.release()
    assert quota.used == 0
