"""Server-sent events, cut at their ends without changing a byte (WHATWG HTML, 9.2.6).

    stream = [BOM] *event
    event  = *(line EOL) EOL          EOL is CRLF, LF or CR

`feed` gives the events that have come in whole, each with the raw bytes to relay; what is incomplete stays behind and
is handed out by `finish` only if the stream ended as it should. The joined raw bytes are the input, for every split.
Blank lines that come with an event's end belong to it: an event for each pair of them would cost 2 MB of line ends a
million events.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_EVENT_BYTES = 8 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_EOL = rb"(?:\r\n|\r(?!\n)|\n)"
_EVENT_END = re.compile(_EOL + _EOL + rb"[\r\n]*")
_DATA = re.compile(rb"[\r\n]data: ?([^\r\n]*)")


class EventTooLarge(ValueError):
    """One event passed MAX_EVENT_BYTES without an end."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event's bytes as they came, its blank line included."""

    raw: bytes

    @property
    def data(self) -> bytes:
        """The event's data lines, joined by LF."""
        return b"\n".join(_DATA.findall(b"\n" + self.raw.removeprefix(_BOM)))


class EventSplitter:
    """Push parser of one stream."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that these bytes complete; the iterator is to be exhausted before the next bytes are fed."""
        held = self._held
        if held:
            # An end may have begun with the last three bytes that were searched before.
            searched = max(0, len(held) - 3)
            held += data
            if _EVENT_END.search(held, searched) is None:
                data = b""
            else:
                data, self._held = bytes(held), bytearray()
        start = 0
        while match := _EVENT_END.search(data, start):
            yield Event(data[start : match.end()])
            start = match.end()
        if start < len(data):
            self._held += data[start:]
        if len(self._held) > MAX_EVENT_BYTES:
            raise EventTooLarge

    def finish(self) -> Event | None:
        """What is left behind at a clean end: an event without its blank line, which some servers send last."""
        rest, self._held = bytes(self._held), bytearray()
        return Event(rest) if rest else None
