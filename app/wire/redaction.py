"""Taking a secret out of what others say, in every dress in which an honest server may echo it.

    as it is            sk-key+1
    percent-encoded     sk-key%2B1, in whole or in part, in either case (RFC 3986, 2.1)
    in base64           of itself or within something longer, such as `Bearer sk-key+1` (RFC 4648, 4 and 5)
    escaped in JSON     sk-key\\u002b1, in whole or in part (RFC 8259, 7)

No document is read for that: escapes of characters that JSON needs no escapes for are undone where they stand, which
leaves the document what it was.
"""

import base64
import re
from collections.abc import Callable, Sequence

from app.errors import Header

REDACTED = b"[redacted]"

# Escapes of printable ASCII, which few writers of JSON make; then each of them apart from a backslash that is escaped.
_ESCAPE = re.compile(rb"\\(?:/|u00[2-7])")
_ESCAPES = re.compile(rb"\\(?:(/)|u00(2[013-9a-f]|[346][0-9a-f]|5[0-9abdef]|7[0-9a-e])|.)", re.IGNORECASE | re.DOTALL)

# Fewer characters of base64 than these could stand in anything.
_LEAST_CHARACTERS = 8


class Redaction:
    """Replaces one secret. A call takes bytes and gives them without it."""

    def __init__(self, secret: bytes) -> None:
        self._literals = tuple({secret, *_in_base64(secret)})
        # Nothing shorter can hold it: most events of a stream are shorter than a key.
        self._least_bytes = min(map(len, self._literals))
        self._quoted = re.compile(b"".join(b"(?:%b|%%(?i:%02x))" % (re.escape(bytes([each])), each) for each in secret))

    def __call__(self, text: bytes) -> bytes:
        """The text without the secret; the same object where it is not in it."""
        if len(text) < self._least_bytes:
            return text
        clean = self._without(text)
        if clean.find(b"\\") >= 0 and _ESCAPE.search(clean):
            plain = _ESCAPES.sub(_unescaped, clean)
            found = self._without(plain)
            return clean if found is plain else found
        return clean

    def _without(self, text: bytes) -> bytes:
        for literal in self._literals:
            if text.find(literal) >= 0:  # half the time of `in`, and a stream has many events
                text = text.replace(literal, REDACTED)
        return self._quoted.sub(REDACTED, text) if text.find(b"%") >= 0 else text


def _unescaped(escape: re.Match[bytes]) -> bytes:
    """The character; a backslash, a quote or a control character stays as it is written."""
    slash, number = escape.groups()
    return slash or (bytes.fromhex(number.decode()) if number else escape[0])


def redacted(fields: Sequence[Header], redact: Callable[[bytes], bytes]) -> Sequence[Header]:
    """Header fields without the secret in their values; most have it in none, which one look at all of them tells."""
    values = b"\n".join([value for _, value in fields])
    return fields if redact(values) == values else [(name, redact(value)) for name, value in fields]


def _in_base64(secret: bytes) -> list[bytes]:
    """The characters that the secret alone decides, for each place in a group of three bytes, in both alphabets."""
    found = [
        encode(bytes(before) + secret)[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
        for before in range(3)
        for encode in (base64.b64encode, base64.urlsafe_b64encode)
    ]
    return [characters for characters in found if len(characters) >= _LEAST_CHARACTERS]
