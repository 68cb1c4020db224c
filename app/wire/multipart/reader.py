"""Reading a form as it arrives: feed bytes, get events, the same ones for every split of the same bytes.

    body  = [preamble CRLF] open part *(CRLF open part) CRLF close [epilogue]
    open  = "--" boundary CRLF
    close = "--" boundary "--"
    part  = PartBegin bytes* None                               as events; no bytes are empty

What two readers read differently, an attacker can use. So nothing is forgiven: a line that begins with the boundary
opens a part or closes the form, also where it follows a lone CR or LF, or stands in a head or right behind one.
Preamble and epilogue have 1 KiB each at most, the boundary is nowhere in the preamble, and without the closing boundary
there is no form.
"""

import re
from collections.abc import Callable

from app.wire.multipart.head import (
    MAX_PART_HEADERS,
    MalformedForm,
    PartBegin,
    check_length,
    head_of,
    header_of,
    plain_head,
)

MAX_PARTS = 1000
MAX_PREAMBLE_BYTES = 1024
MAX_EPILOGUE_BYTES = 1024

Event = PartBegin | bytes | None

# Reads on from a position in the bytes and returns the next one; None if it has read or held all that is there.
_Step = Callable[["MultipartReader", bytes, int, list[Event]], int | None]


class MultipartReader:
    """Push parser of one form. `feed` what arrives; `finish` at the body's end, which proves the form complete."""

    def __init__(self, boundary: str) -> None:
        self._line = b"--" + boundary.encode()
        self._step: _Step = MultipartReader._opening
        # What has come and means nothing before more has.
        self._held = b""
        self._headers: list[tuple[str, str]] = []
        self._parts = 0
        self._epilogue_bytes = 0

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete."""
        data, self._held = self._held + data, b""
        events: list[Event] = []
        at: int | None = 0
        while at is not None:
            at = self._step(self, data, at, events)
        return events

    def finish(self) -> None:
        """MalformedForm unless the closing boundary has been read."""
        if self._step is MultipartReader._opening and not self._line.startswith(self._held):
            raise _no_beginning()
        if self._step is not MultipartReader._epilogue:
            raise MalformedForm("it ends before its closing boundary")

    def _opening(self, data: bytes, at: int, _events: list[Event]) -> int | None:
        found = data.find(self._line)
        if found < 0 and len(data) < MAX_PREAMBLE_BYTES + len(self._line) + 2:
            self._held = data
            return None
        if found < 0 or found > MAX_PREAMBLE_BYTES + 2:
            raise _no_beginning()
        if found and data[max(0, found - 2) : found] != b"\r\n":
            raise _no_delimiter()
        self._step = MultipartReader._mark
        return found + len(self._line)

    def _mark(self, data: bytes, at: int, _events: list[Event]) -> int | None:
        """What stands behind a boundary at the beginning of a line."""
        mark = data[at : at + 2]
        if mark == b"\r\n":
            self._parts += 1
            if self._parts > MAX_PARTS:
                raise MalformedForm(f"it has more than {MAX_PARTS} parts")
            self._step = MultipartReader._head
        elif mark == b"--":
            self._step = MultipartReader._epilogue
        elif mark in (b"", b"\r", b"-"):
            self._held = mark
            return None
        else:
            raise _no_delimiter()
        return at + 2

    def _head(self, data: bytes, at: int, events: list[Event]) -> int | None:
        """A head as SDKs send it, at once; any other line by line."""
        plain = plain_head(data, at)
        if plain is None:
            self._step, self._headers = MultipartReader._header, []
            return at
        events.append(plain[0])
        self._step = MultipartReader._behind_head
        return plain[1]

    def _header(self, data: bytes, at: int, events: list[Event]) -> int | None:
        """A line of a head; the empty one ends it."""
        end = data.find(b"\r\n", at)
        if end < 0:
            self._held = data[at:]
            check_length(self._held.removesuffix(b"\r"))
            return None
        line = data[at:end]
        if not line:
            events.append(head_of(self._headers))
            self._step = MultipartReader._behind_head
        elif line.startswith(self._line):
            raise _no_delimiter()
        elif len(self._headers) == MAX_PART_HEADERS:
            raise MalformedForm(f"a part has more than {MAX_PART_HEADERS} headers")
        else:
            self._headers.append(header_of(line))
        return end + 2

    def _behind_head(self, data: bytes, at: int, _events: list[Event]) -> int | None:
        """Where a part's first byte is. A line begins there, but the CRLF before it is the head's."""
        if data.startswith(self._line, at):
            raise _no_delimiter()
        first = data[at : at + len(self._line)]
        if self._line.startswith(first):
            self._held = first
            return None
        self._step = MultipartReader._data
        return at

    def _data(self, data: bytes, at: int, events: list[Event]) -> int | None:
        found = data.find(self._line, at)
        if found >= 0 and data[max(at, found - 1) : found] not in (b"\r", b"\n"):
            # One search for the next at the beginning of a line, however often the boundary stands elsewhere.
            match = re.compile(b"[\r\n]" + re.escape(self._line)).search(data, found)
            found = match.end() - len(self._line) if match else -1
        if found >= 0:
            if data[max(at, found - 2) : found] != b"\r\n":
                raise _no_delimiter()
            if found - 2 > at:
                events.append(data[at : found - 2])
            events.append(None)
            self._step = MultipartReader._mark
            return found + len(self._line)
        end = self._certain(data, at)
        if end > at:
            events.append(data[at:end])
        self._held = data[end:]
        return None

    def _certain(self, data: bytes, at: int) -> int:
        """How far this is data for certain: up to the last line break, if a boundary may have begun behind it."""
        reach = max(at, len(data) - len(self._line))
        newline = max(data.rfind(b"\n", reach), data.rfind(b"\r", reach))
        if newline < 0 or not self._line.startswith(data[newline + 1 :]):
            return len(data)
        return newline - data.endswith(b"\r", at, newline)

    def _epilogue(self, data: bytes, at: int, _events: list[Event]) -> int | None:
        self._epilogue_bytes += len(data) - at
        if self._epilogue_bytes > MAX_EPILOGUE_BYTES:
            raise MalformedForm(f"more than {MAX_EPILOGUE_BYTES} bytes follow its closing boundary")
        return None


def _no_beginning() -> MalformedForm:
    return MalformedForm("it does not begin with the boundary that its Content-Type names")


def _no_delimiter() -> MalformedForm:
    return MalformedForm("a line begins with its boundary and is no delimiter")
