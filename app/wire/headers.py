"""Which headers may cross, either way (RFC 9110, 7.6.1): a list of those that do, never of those that don't.

Towards the provider nothing of the caller's crosses. Towards the caller only what this table names; hop-by-hop fields,
cookies, the provider's own limits and whatever else it sends stay behind.
"""

import re
from calendar import timegm
from collections.abc import Iterable
from email.utils import parsedate

Header = tuple[bytes, bytes]

# The provider's name -> ours.
_CROSSING = {
    b"content-type": b"content-type",
    b"openai-processing-ms": b"openai-processing-ms",
    b"x-request-id": b"x-upstream-request-id",
}
_PRINTABLE = re.compile(rb"[ -~]{0,512}")
# Frameworks call any text HTML; a browser would run what stands in it.
_HTML = re.compile(rb"^\s*text/html(?![^;\s])", re.IGNORECASE)
_NUMBER = re.compile(rb"\d+(?:\.\d*)?|\.\d+")

# A client that waited as long as some servers ask for would never come back.
MAX_RETRY_AFTER_SECONDS = 3600


class Headers:
    """The header fields of one message, names in lower case, in order; copied once."""

    __slots__ = ("_fields", "_first")

    def __init__(self, fields: Iterable[Header]) -> None:
        self._fields = [(name.lower(), value) for name, value in fields]
        self._first = dict(reversed(self._fields))

    def all(self, name: bytes) -> list[bytes]:
        if name not in self._first:
            return []
        return [value for field, value in self._fields if field == name]

    def get(self, name: bytes) -> bytes | None:
        """The first value of this name."""
        return self._first.get(name)

    def text(self, name: bytes) -> str:
        """The first value of this name as text, empty if there is none."""
        return self._first.get(name, b"").decode("latin-1")


def towards_caller(answer: Headers) -> tuple[Header, ...]:
    """The fields of the provider's answer that the caller may see, under our names."""
    crossing = []
    for theirs, ours in _CROSSING.items():
        value = answer.get(theirs)
        if value is not None and _PRINTABLE.fullmatch(value):
            crossing.append((ours, _HTML.sub(b"text/plain", value) if theirs == b"content-type" else value))
    return tuple(crossing)


def upstream_request_id(answer: Headers) -> str | None:
    """The provider's own id of the request, where it gives one that can be printed."""
    value = answer.get(b"x-request-id")
    return value.decode() if value is not None and _PRINTABLE.fullmatch(value) else None


def retry_after(answer: Headers, now: float) -> float | None:
    """Seconds that the provider asks to wait, from retry-after-ms or retry-after, an hour at the most; None for what is
    neither a number nor a date (RFC 9110, 10.2.3). `now` is in seconds since the epoch.
    """
    for name, unit in ((b"retry-after-ms", 1000), (b"retry-after", 1)):
        value = answer.get(name)
        if value is not None and _NUMBER.fullmatch(value):
            return min(float(value) / unit, MAX_RETRY_AFTER_SECONDS)
    try:
        date = parsedate(answer.text(b"retry-after"))
        return None if date is None else min(max(0, round(timegm(date) - now)), MAX_RETRY_AFTER_SECONDS)
    except (ValueError, OverflowError):
        return None
