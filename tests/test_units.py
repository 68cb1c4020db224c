from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.units import NANO_PER_USD, seconds_of, to_ms, to_nano, usd_text

NANO = st.integers(-(10**18), 10**18)


@given(st.decimals(0, 1_000_000, allow_nan=False, allow_infinity=False))
def test_dollars_become_nano_dollars_and_a_finer_fraction_is_rounded_up(usd: Decimal) -> None:
    assert to_nano(usd) == ceil(Fraction(usd) * NANO_PER_USD)


@pytest.mark.parametrize(
    ("usd", "nano"),
    [
        ("0.006", 6_000_000),
        ("2.50", 2_500_000_000),
        ("0", 0),
        ("1000000", 10**15),
        ("0.0000000001", 1),
        ("0.0000000010000000000000000000000000001", 2),
        ("999999.0000000000000000000000000001", 999_999 * 10**9 + 1),
        ("1e-999999999999", 1),
    ],
)
def test_the_smallest_fraction_counts(usd: str, nano: int) -> None:
    assert to_nano(Decimal(usd)) == nano


@given(NANO)
def test_the_text_of_an_amount_is_exact_and_short(nano: int) -> None:
    text = usd_text(nano)
    assert Decimal(text) * NANO_PER_USD == nano
    assert "e" not in text.lower()
    assert not text.endswith(".")
    assert "." not in text or not text.endswith("0")
    assert to_nano(Decimal(text)) == nano


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (485_300, "0.0004853"),
        (0, "0"),
        (1, "0.000000001"),
        (-1, "-0.000000001"),
        (10**9, "1"),
        (-2_500_000_000, "-2.5"),
        (10 * 10**9, "10"),
    ],
)
def test_amounts_as_dollars(nano: int, text: str) -> None:
    assert usd_text(nano) == text


@given(st.integers(0, 366 * 86_400_000))
def test_milliseconds_survive_seconds(audio: int) -> None:
    assert to_ms(seconds_of(audio)) == audio


@given(st.floats(0, 366 * 86_400))
def test_seconds_are_rounded_to_the_nearest_millisecond(seconds: float) -> None:
    assert abs(to_ms(seconds) - Fraction(seconds) * 1000) <= Fraction(1, 2) + Fraction(1, 100_000)


def test_the_digits_of_seconds_are_those_of_the_milliseconds() -> None:
    assert str(seconds_of(4_853)) == "4.853"
    assert str(seconds_of(8_470)) == "8.47"
