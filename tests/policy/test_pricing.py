from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config import DEFAULT_MODELS, Model
from app.policy.pricing import FREE, Price
from app.units import AudioMs, NanoUSD, Tokens

DOLLARS = 1_000_000_000

AMOUNTS = st.integers(0, 1_000_000 * DOLLARS).map(NanoUSD)
PRICED = st.integers(1, 1_000_000 * DOLLARS).map(NanoUSD)
LENGTHS = st.integers(0, 366 * 86_400_000).map(AudioMs)
POSITIVE_LENGTHS = st.integers(1, 366 * 86_400_000).map(AudioMs)
COUNTS = st.integers(0, 10_000_000_000)
TOKENS = st.builds(Tokens, input=COUNTS, output=COUNTS, total=COUNTS, audio=st.none() | COUNTS, text=st.none() | COUNTS)

BY_MINUTE = st.builds(Price, per_minute=PRICED)
BY_TOKENS = st.builds(
    Price,
    input=PRICED,
    audio_input=st.none() | AMOUNTS,
    output=AMOUNTS,
    per_minute=st.none() | PRICED,
    max_tokens_per_minute=st.integers(1, 100_000),
)

WHISPER = Price(per_minute=NanoUSD(6_000_000))
LARGE = Price(input=NanoUSD(2_500_000_000), output=NanoUSD(10 * DOLLARS), per_minute=NanoUSD(6_000_000))


@given(BY_TOKENS, TOKENS)
def test_tokens_cost_exactly_their_prices_rounded_up(price: Price, tokens: Tokens) -> None:
    assert price.input is not None
    assert price.output is not None
    audio = min(tokens.audio or 0, tokens.input)
    audio_price = price.input if price.audio_input is None else price.audio_input
    exact = Fraction(
        audio * audio_price + (tokens.input - audio) * price.input + tokens.output * price.output, 1_000_000
    )
    assert price.of_tokens(tokens) == ceil(exact)


@given(BY_MINUTE | BY_TOKENS, LENGTHS)
def test_audio_costs_exactly_its_price_rounded_up(price: Price, audio: AudioMs) -> None:
    minutes = Fraction(audio, 60_000)
    dearest = max(price.input or 0, price.audio_input or 0, price.output or 0)
    exact = (
        minutes * price.max_tokens_per_minute * Fraction(dearest, 1_000_000)
        if price.per_minute is None
        else minutes * price.per_minute
    )
    assert price.of_audio(audio) == ceil(exact)


@given(BY_MINUTE | BY_TOKENS, LENGTHS, st.data())
def test_the_bound_holds_for_all_tokens_that_the_audio_can_make(
    price: Price, audio: AudioMs, data: st.DataObject
) -> None:
    most = audio * price.max_tokens_per_minute // 60_000
    given_tokens = data.draw(st.integers(0, most))
    made = data.draw(st.integers(0, most - given_tokens))
    heard = data.draw(st.none() | st.integers(0, most))
    tokens = Tokens(input=given_tokens, output=made, total=given_tokens + made, audio=heard)
    assert price.bound(audio) >= price.cost(audio, tokens)
    assert price.bound(audio) >= price.cost(audio, None)


@given(BY_MINUTE | BY_TOKENS, POSITIVE_LENGTHS)
def test_audio_with_a_price_is_never_free(price: Price, audio: AudioMs) -> None:
    assert price.of_audio(audio) > 0
    assert price.bound(audio) > 0


@given(BY_MINUTE | BY_TOKENS, LENGTHS, LENGTHS)
def test_a_longer_file_never_costs_less(price: Price, one: AudioMs, other: AudioMs) -> None:
    shorter, longer = sorted((one, other))
    assert price.bound(shorter) <= price.bound(longer)
    assert price.of_audio(shorter) <= price.of_audio(longer)


@given(LENGTHS, st.none() | TOKENS)
def test_a_free_model_costs_nothing(audio: AudioMs, tokens: Tokens | None) -> None:
    assert FREE.bound(audio) == 0
    assert FREE.cost(audio, tokens) == 0


@pytest.mark.parametrize("model", DEFAULT_MODELS, ids=lambda model: model.id)
def test_no_model_of_the_default_catalogue_is_free(model: Model) -> None:
    assert model.price.of_audio(AudioMs(1)) > 0
    assert model.price.bound(AudioMs(60_000)) >= 3_000_000


@pytest.mark.parametrize(
    ("price", "audio", "tokens", "cost"),
    [
        (WHISPER, 60_000, None, 6_000_000),
        (WHISPER, 4_853, None, 485_300),
        (WHISPER, 1, None, 100),
        (WHISPER, 0, None, 0),
        (WHISPER, 60_000, Tokens(1_000_000, 1_000_000, 2_000_000), 6_000_000),
        (LARGE, 60_000, None, 6_000_000),
        (LARGE, 60_000, Tokens(input=14, output=45, total=59, audio=14, text=0), 14 * 2_500 + 45 * 10_000),
        (LARGE, 60_000, Tokens(0, 0, 0), 0),
        (Price(input=NanoUSD(1), output=NanoUSD(1)), 60_000, Tokens(1, 0, 1), 1),
        (Price(input=NanoUSD(1), output=NanoUSD(1)), 1, None, 1),
        (Price(per_minute=NanoUSD(1)), 1, None, 1),
        (
            Price(input=NanoUSD(1_000_000), audio_input=NanoUSD(9_000_000), output=NanoUSD(0)),
            0,
            Tokens(10, 5, 15, 4),
            42,
        ),
        (Price(input=NanoUSD(1_000_000), audio_input=NanoUSD(9_000_000), output=NanoUSD(0)), 0, Tokens(3, 0, 3, 9), 27),
        (Price(input=NanoUSD(1_000_000), audio_input=NanoUSD(0), output=NanoUSD(0)), 0, Tokens(10, 0, 10, 10), 0),
    ],
)
def test_what_one_request_costs(price: Price, audio: int, tokens: Tokens | None, cost: int) -> None:
    assert price.cost(AudioMs(audio), tokens) == cost


def test_the_bound_is_the_higher_of_both_charges() -> None:
    # 2,000 tokens a minute at 10 dollars a million are 0.02 dollars, more than 0.006 a minute.
    assert LARGE.bound(AudioMs(60_000)) == 20_000_000
    assert WHISPER.bound(AudioMs(60_000)) == 6_000_000
    cheap_tokens = Price(input=NanoUSD(1), output=NanoUSD(1), per_minute=NanoUSD(6_000_000))
    assert cheap_tokens.bound(AudioMs(60_000)) == 6_000_000
