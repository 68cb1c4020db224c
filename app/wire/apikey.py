"""The format of the gateway's own keys: `sk-agw-` + 32 random characters + 6 of checksum, all base 62.

The checksum is a CRC-32 of the characters before it and is no secret. It lets the gateway reject typing errors and
foreign keys without reading the ledger. The ledger stores a key's SHA-256, and its last four characters for display.
"""

import hashlib
import zlib

PREFIX = "sk-agw-"
RANDOM_BYTES = 24

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY, _CHECK = 32, 6


def mint(random: bytes) -> str:
    """The key that these 24 random bytes give."""
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"a key needs {RANDOM_BYTES} random bytes")
    body = PREFIX + _base62(int.from_bytes(random), _BODY + 1)[-_BODY:]
    return body + _checksum(body)


def is_well_formed(key: str) -> bool:
    """Whether the prefix, the length and the checksum are those of a gateway key."""
    body, check = key[:-_CHECK], key[-_CHECK:]
    return (
        len(key) == len(PREFIX) + _BODY + _CHECK
        and key.isascii()
        and key.startswith(PREFIX)
        and _checksum(body) == check
    )


def digest(key: str) -> str:
    """The SHA-256 under which a key is stored, 64 hexadecimal digits."""
    return hashlib.sha256(key.encode()).hexdigest()


def last4(key: str) -> str:
    """The last four characters of a key, for display."""
    return key[-4:]


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, rest = divmod(number, 62)
        digits.append(_ALPHABET[rest])
    return "".join(reversed(digits))
