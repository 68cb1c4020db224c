"""Splits a stream into server-sent events without changing a byte (WHATWG HTML, 9.2.6).

    stream = [BOM] *event
    event  = *(line EOL) EOL          EOL is CRLF, LF or CR

`feed` returns the complete events, each with the raw bytes to relay. `finish` returns an incomplete last event; call it
only if the stream ended properly. The raw bytes of all events joined are the input, however it is split. Blank lines
after an event belong to it: otherwise, 2 MB of line ends would make a million events.
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
    """An event is longer than MAX_EVENT_BYTES."""


@dataclass(frozen=True, slots=True)
class Event:
    """The raw bytes of one event, its blank line included."""

    raw: bytes

    @property
    def data(self) -> bytes:
        """The event's data lines, joined by LF."""
        return b"\n".join(_DATA.findall(b"\n" + self.raw.removeprefix(_BOM)))


class EventSplitter:
    """Splits one stream, fed in chunks of any size."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that these bytes complete. Exhaust the iterator before you feed more bytes."""
        held = self._held
        if held:
            # The last three bytes of the last search may be the beginning of an event's end.
            start = max(0, len(held) - 3)
            held += data
            if _EVENT_END.search(held, start) is None:
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
        """The rest of a stream that ended properly: an event without its blank line, as some servers send last."""
        rest, self._held = bytes(self._held), bytearray()
        return Event(rest) if rest else None
