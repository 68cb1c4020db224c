import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.identifier import RANDOM_BYTES, time_ordered

TIMES = st.integers(0, 2**48 - 1)
RANDOM = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


@given(st.tuples(TIMES, RANDOM), st.tuples(TIMES, RANDOM))
def test_identifiers_sort_by_time_and_then_by_chance(one: tuple[int, bytes], other: tuple[int, bytes]) -> None:
    assert (time_ordered("req_", *one) < time_ordered("req_", *other)) is (one < other)


@given(TIMES, RANDOM)
def test_an_identifier_holds_its_time_and_chance(now_ms: int, chance: bytes) -> None:
    text = time_ordered("req_", now_ms, chance)
    assert len(text) == len("req_") + 26
    number = 0
    for character in text.removeprefix("req_"):
        number = number * 32 + ALPHABET.index(character)
    assert number == now_ms << 80 | int.from_bytes(chance)


@pytest.mark.parametrize("length", [0, 9, 11])
def test_an_identifier_takes_its_full_measure_of_chance(length: int) -> None:
    with pytest.raises(ValueError, match="10 random bytes"):
        time_ordered("", 0, bytes(length))
