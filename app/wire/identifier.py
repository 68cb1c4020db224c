"""Identifiers that sort by time: 48 bits of milliseconds and 80 of chance, in 26 characters (the layout of a ULID)."""

RANDOM_BYTES = 16

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [one + other for one in _ALPHABET for other in _ALPHABET]
_OF_BYTES = _ALPHABET.encode() * 8


def time_ordered(prefix: str, now_ms: int, random: bytes) -> str:
    """`prefix` and 26 characters of Crockford's base 32; five bits of each of 16 random bytes make it unique."""
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"an identifier takes {RANDOM_BYTES} random bytes")
    time = [_PAIRS[now_ms >> shift & 1023] for shift in (40, 30, 20, 10, 0)]
    return "".join([prefix, *time, random.translate(_OF_BYTES).decode()])
