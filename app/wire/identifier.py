"""Identifiers that sort by time: 48 bits of milliseconds and 80 of chance, in 26 characters (the layout of a ULID)."""

RANDOM_BYTES = 10

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [one + other for one in _ALPHABET for other in _ALPHABET]


def time_ordered(prefix: str, now_ms: int, random: bytes) -> str:
    """`prefix` and 26 characters of Crockford's base 32; ten random bytes make it unique."""
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"an identifier takes {RANDOM_BYTES} random bytes")
    number = (now_ms << 80) | int.from_bytes(random)
    return prefix + "".join([_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)])
