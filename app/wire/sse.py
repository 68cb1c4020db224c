"""Server-sent events, cut at their ends without changing a byte (WHATWG HTML, 9.2.6).

    stream = [BOM] *event
    event  = *(line EOL) EOL          EOL is CRLF, LF or CR

`feed` gives the events that have come in whole, each with the raw bytes to relay; what is incomplete stays behind and
is handed out by `finish` only if the stream ended as it should. The joined raw bytes are the input, for every split.
"""

import re
from dataclasses import dataclass

MAX_EVENT_BYTES = 8 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_EOL = rb"(?:\r\n|\r(?!\n)|\n)"
_EVENT_END = re.compile(_EOL + _EOL)
_LINE_END = re.compile(rb"\r\n|\r|\n")


class EventTooLarge(ValueError):
    """One event passed MAX_EVENT_BYTES without an end."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event's bytes as they came, its blank line included."""

    raw: bytes

    @property
    def data(self) -> bytes:
        """The event's data lines, joined by LF."""
        lines = _LINE_END.split(self.raw.removeprefix(_BOM))
        return b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))


class EventSplitter:
    """Push parser of one stream."""

    def __init__(self) -> None:
        self._buffer = b""
        self._searched = 0

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete."""
        buffer = self._buffer + data
        events, start = [], 0
        # An end may have begun with the last three bytes that were searched before.
        position = max(0, self._searched - 3)
        while match := _EVENT_END.search(buffer, position):
            events.append(Event(buffer[start : match.end()]))
            start = position = match.end()
        self._buffer = buffer[start:]
        self._searched = len(self._buffer)
        if self._searched > MAX_EVENT_BYTES:
            raise EventTooLarge
        return events

    def finish(self) -> Event | None:
        """What is left behind at a clean end: an event without its blank line, which some servers send last."""
        rest, self._buffer = self._buffer, b""
        return Event(rest) if rest else None
