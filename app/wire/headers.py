"""Header fields, and which of them the gateway relays (RFC 9110, 7.6.1).

No header of the caller is sent to the provider. Of the provider's response headers, the caller gets only those in a
table: no hop-by-hop fields, no cookies, none of the provider's rate limits.
"""

import re
from calendar import timegm
from collections.abc import Iterable
from email.utils import parsedate

Header = tuple[bytes, bytes]

# Relayed response headers: the provider's name -> ours.
_RELAYED = {
    b"content-type": b"content-type",
    b"openai-processing-ms": b"openai-processing-ms",
    b"x-request-id": b"x-upstream-request-id",
}
_PRINTABLE = re.compile(rb"[ -~]{0,512}")
# Some frameworks label any text as HTML, and a browser would run scripts in it.
_HTML = re.compile(rb"^\s*text/html(?![^;\s])", re.IGNORECASE)
_NUMBER = re.compile(rb"\d+(?:\.\d*)?|\.\d+")

# Some servers ask for a wait so long that a client would never retry.
MAX_RETRY_AFTER_SECONDS = 3600


class Headers:
    """The header fields of one message, in order, with names in lower case."""

    __slots__ = ("_fields", "_first")

    def __init__(self, fields: Iterable[Header]) -> None:
        self._fields = [(name.lower(), value) for name, value in fields]
        self._first = dict(reversed(self._fields))

    def all(self, name: bytes) -> list[bytes]:
        """All values of this name, in order."""
        if name not in self._first:
            return []
        return [value for field, value in self._fields if field == name]

    def get(self, name: bytes) -> bytes | None:
        """The first value of this name, or None."""
        return self._first.get(name)

    def text(self, name: bytes) -> str:
        """The first value of this name as text, or an empty string."""
        return self._first.get(name, b"").decode("latin-1")


def caller_headers(response: Headers) -> tuple[Header, ...]:
    """The fields of the provider's response that the caller gets, under our names."""
    relayed = []
    for theirs, ours in _RELAYED.items():
        value = response.get(theirs)
        if value is not None and _PRINTABLE.fullmatch(value):
            relayed.append((ours, _HTML.sub(b"text/plain", value) if theirs == b"content-type" else value))
    return tuple(relayed)


def upstream_request_id(response: Headers) -> str | None:
    """The provider's id of the request; None without one, or if it is not printable."""
    value = response.get(b"x-request-id")
    return value.decode() if value is not None and _PRINTABLE.fullmatch(value) else None


def retry_after(response: Headers, now: float) -> float | None:
    """Seconds that the provider asks to wait, from retry-after-ms or retry-after, at most an hour.

    None for a value that is neither a number nor a date (RFC 9110, 10.2.3). `now` is in seconds since the epoch.
    """
    for name, unit in ((b"retry-after-ms", 1000), (b"retry-after", 1)):
        value = response.get(name)
        if value is not None and _NUMBER.fullmatch(value):
            return min(float(value) / unit, MAX_RETRY_AFTER_SECONDS)
    try:
        date = parsedate(response.text(b"retry-after"))
        return None if date is None else min(max(0, round(timegm(date) - now)), MAX_RETRY_AFTER_SECONDS)
    except (ValueError, OverflowError):
        return None
