"""Removes a secret from a provider's responses, in every encoding in which an honest server may echo it.

    plain               sk-key+1
    percent-encoded     sk-key%2B1, in whole or in part, in either case (RFC 3986, 2.1)
    in base64           of itself or within something longer, such as `Bearer sk-key+1` (RFC 4648, 4 and 5)
    escaped in JSON     sk-key\\u002b1, in whole or in part (RFC 8259, 7)

No JSON is parsed: escapes of characters that JSON need not escape are decoded in place, which does not change the
meaning of a document.
"""

import base64
import re
from collections.abc import Callable, Sequence

from app.errors import Header

REDACTED = b"[redacted]"

# A quick search for escapes of printable ASCII, which few JSON writers use; and the exact one, which skips an escaped
# backslash.
_ESCAPE = re.compile(rb"\\(?:/|u00[2-7])")
_ESCAPES = re.compile(rb"\\(?:(/)|u00(2[013-9a-f]|[346][0-9a-f]|5[0-9abdef]|7[0-9a-e])|.)", re.IGNORECASE | re.DOTALL)

# Fewer characters of base64 could occur in any text.
_MIN_CHARACTERS = 8


class Redaction:
    """Replaces one secret in bytes. Call the object with the bytes."""

    def __init__(self, secret: bytes) -> None:
        self._literals = tuple({secret, *_in_base64(secret)})
        # A shorter text cannot hold the secret; most events of a stream are shorter than a key.
        self._min_bytes = min(map(len, self._literals))
        self._percent_encoded = re.compile(
            b"".join(b"(?:%b|%%(?i:%02x))" % (re.escape(bytes([byte])), byte) for byte in secret)
        )

    def __call__(self, text: bytes) -> bytes:
        """The text without the secret; the same object if the secret is not in it."""
        if len(text) < self._min_bytes:
            return text
        clean = self._without(text)
        if clean.find(b"\\") >= 0 and _ESCAPE.search(clean):
            unescaped = _ESCAPES.sub(_unescape, clean)
            redacted = self._without(unescaped)
            return clean if redacted is unescaped else redacted
        return clean

    def _without(self, text: bytes) -> bytes:
        for literal in self._literals:
            if text.find(literal) >= 0:  # takes half the time of `in`, and a stream has many events
                text = text.replace(literal, REDACTED)
        return self._percent_encoded.sub(REDACTED, text) if text.find(b"%") >= 0 else text


def _unescape(escape: re.Match[bytes]) -> bytes:
    """The character of an escape; a backslash, a quote or a control character stays escaped."""
    slash, number = escape.groups()
    return slash or (bytes.fromhex(number.decode()) if number else escape[0])


def redact_headers(fields: Sequence[Header], redact: Callable[[bytes], bytes]) -> Sequence[Header]:
    """Header fields without the secret in their values. One search over all values finds that most have none."""
    values = b"\n".join([value for _, value in fields])
    return fields if redact(values) == values else [(name, redact(value)) for name, value in fields]


def _in_base64(secret: bytes) -> list[bytes]:
    """The base64 characters that only the secret determines, at each offset in a group of three, in both alphabets."""
    encodings = [
        encode(bytes(before) + secret)[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
        for before in range(3)
        for encode in (base64.b64encode, base64.urlsafe_b64encode)
    ]
    return [characters for characters in encodings if len(characters) >= _MIN_CHARACTERS]
