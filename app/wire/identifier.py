"""Identifiers that sort by time, in a ULID's layout: 48 bits of milliseconds and 80 random bits, in 26 characters."""

RANDOM_BYTES = 16

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_CHARACTERS_BY_BYTE = _ALPHABET.encode() * 8


def time_ordered(prefix: str, now_ms: int, random: bytes) -> str:
    """`prefix` and 26 characters of Crockford's base 32, of which 16 encode five bits of each random byte."""
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"an identifier needs {RANDOM_BYTES} random bytes")
    time = [_PAIRS[now_ms >> shift & 1023] for shift in (40, 30, 20, 10, 0)]
    return "".join([prefix, *time, random.translate(_CHARACTERS_BY_BYTE).decode()])
