import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.identifier import RANDOM_BYTES, time_ordered

TIMES = st.integers(0, 2**48 - 1)
RANDOM = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def fives(random: bytes) -> list[int]:
    """The five bits of each byte that an identifier uses."""
    return [byte % 32 for byte in random]


@given(st.tuples(TIMES, RANDOM), st.tuples(TIMES, RANDOM))
def test_identifiers_sort_by_time_and_then_by_random_bits(one: tuple[int, bytes], other: tuple[int, bytes]) -> None:
    earlier = (one[0], fives(one[1])) < (other[0], fives(other[1]))
    assert (time_ordered("req_", *one) < time_ordered("req_", *other)) is earlier


@given(TIMES, RANDOM)
def test_an_identifier_encodes_its_time_and_random_bits(now_ms: int, chance: bytes) -> None:
    text = time_ordered("req_", now_ms, chance)
    assert len(text) == len("req_") + 26
    digits = [ALPHABET.index(character) for character in text.removeprefix("req_")]
    time = 0
    for digit in digits[:10]:
        time = time * 32 + digit
    assert time == now_ms
    assert digits[10:] == fives(chance)


@pytest.mark.parametrize("length", [0, 15, 17])
def test_an_identifier_needs_16_random_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="16 random bytes"):
        time_ordered("", 0, bytes(length))
