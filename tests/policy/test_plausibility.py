"""Which reported usage is plausible for the audio: both sides of each limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.policy.budget import Amounts
from app.policy.plausibility import TOO_LITTLE, TOO_MUCH, doubt
from app.units import AudioMs, Tokens, Usage

MINUTE = Amounts(cost=1, audio=60_000, tokens=2_000)


def seconds(number: float) -> Usage:
    return Usage(audio=AudioMs(round(number * 1000)))


def tokens(total: int) -> Usage:
    return Usage(tokens=Tokens(total, 0, total))


@pytest.mark.parametrize(
    ("told", "measured", "expected"),
    [
        (seconds(60), True, None),
        (seconds(6), True, None),  # a provider that leaves out silence
        (seconds(5.9), True, TOO_LITTLE),
        (seconds(1), True, TOO_LITTLE),  # minutes for seconds
        (seconds(0), True, TOO_LITTLE),
        (seconds(0.6), False, None),
        (seconds(0.5), False, TOO_LITTLE),
        (seconds(0), False, TOO_LITTLE),
        (seconds(180), True, None),
        (seconds(180.1), True, TOO_MUCH),
        (seconds(60_000), True, TOO_MUCH),  # milliseconds for seconds
        (seconds(364 * 86_400), True, TOO_MUCH),
        (tokens(10), True, None),
        (tokens(9), True, TOO_LITTLE),
        (tokens(0), True, TOO_LITTLE),
        (tokens(1), False, None),
        (tokens(0), False, TOO_LITTLE),
        (tokens(6_100), True, None),
        (tokens(6_101), True, TOO_MUCH),
        (tokens(9_900_000_000), True, TOO_MUCH),
    ],
)
def test_usage_of_a_minute_with_a_prompt_of_a_hundred_bytes(told: Usage, measured: bool, expected: str | None) -> None:
    assert doubt(told, AudioMs(60_000), measured, MINUTE, 100) == expected


@given(st.integers(0, 10**8), st.booleans())
def test_the_measured_length_is_plausible(audio: int, measured: bool) -> None:
    hold = Amounts(audio=audio)
    assert doubt(Usage(audio=AudioMs(audio)), AudioMs(audio), measured, hold, 0) is None


@given(st.integers(1, 10**8), st.booleans())
def test_usage_of_nothing_is_plausible_only_without_audio(audio: int, measured: bool) -> None:
    for told in (seconds(0), tokens(0)):
        assert doubt(told, AudioMs(audio), measured, Amounts(audio=audio), 0) == TOO_LITTLE
        assert doubt(told, AudioMs(0), measured, Amounts(), 0) is None


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.booleans())
def test_what_is_believed_is_bounded_by_the_hold(told: int, audio: int, measured: bool) -> None:
    hold = Amounts(audio=audio, tokens=audio // 30)
    if doubt(Usage(audio=AudioMs(told)), AudioMs(audio), measured, hold, 0) is None:
        assert audio / 100 <= told <= 2 * audio + 60_000
    if doubt(tokens(told), AudioMs(audio), measured, hold, 50) is None:
        assert told <= 2 * hold.tokens + 2_050
