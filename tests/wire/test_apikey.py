import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.apikey import PREFIX, RANDOM_BYTES, digest, is_well_formed, last4, mint

RANDOM = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)
KEY = mint(bytes(range(100, 100 + RANDOM_BYTES)))
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@given(RANDOM)
def test_a_minted_key_is_well_formed(random: bytes) -> None:
    key = mint(random)
    assert is_well_formed(key)
    assert key.startswith("sk-agw-")
    assert len(key) == 45
    assert set(key.removeprefix(PREFIX)) <= set(BASE62)


@pytest.mark.parametrize("random", [bytes(RANDOM_BYTES), b"\xff" * RANDOM_BYTES, b"\0" * 23 + b"\x01"], ids=bytes.hex)
def test_extreme_random_bytes_make_well_formed_keys(random: bytes) -> None:
    assert is_well_formed(mint(random))


@given(RANDOM, RANDOM)
def test_different_random_bytes_make_different_keys(one: bytes, other: bytes) -> None:
    # 32 characters hold 190 of the 192 bits.
    distinct = int.from_bytes(one) % 62**32 != int.from_bytes(other) % 62**32
    assert (mint(one) != mint(other)) is distinct


@pytest.mark.parametrize("length", [0, 23, 25])
def test_a_key_needs_24_random_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="24 random bytes"):
        mint(bytes(length))


@pytest.mark.parametrize("place", range(len(KEY)))
def test_a_change_of_a_single_character_is_rejected(place: int) -> None:
    for other in {*BASE62, "-", " ", "é"} - {KEY[place]}:
        assert not is_well_formed(KEY[:place] + other + KEY[place + 1 :])


@pytest.mark.parametrize("place", range(len(PREFIX), len(KEY) - 1))
def test_two_swapped_characters_are_rejected(place: int) -> None:
    swapped = KEY[:place] + KEY[place + 1] + KEY[place] + KEY[place + 2 :]
    assert swapped != KEY
    assert not is_well_formed(swapped)


@pytest.mark.parametrize(
    "key",
    ["", "sk-agw-", KEY[:-1], KEY + "0", KEY[1:], f" {KEY}", f"{KEY}\n", KEY.upper(), KEY.lower(), "sk-" + "a" * 42],
)
def test_foreign_keys_are_rejected(key: str) -> None:
    assert not is_well_formed(key)


@given(st.text(max_size=60))
def test_no_text_that_was_not_minted_is_well_formed(text: str) -> None:
    assert not is_well_formed(text)


def test_a_key_is_stored_as_its_sha256() -> None:
    assert digest(KEY) == hashlib.sha256(KEY.encode()).hexdigest()
    assert digest("é") == hashlib.sha256(b"\xc3\xa9").hexdigest()


def test_the_last_four_characters_tell_keys_apart() -> None:
    assert last4(KEY) == KEY[-4:]
