"""Reads a form as it arrives: feed bytes, get events, the same events however the bytes are split.

    body  = [preamble CRLF] open part *(CRLF open part) CRLF close [epilogue]
    open  = "--" boundary CRLF
    close = "--" boundary "--"
    part  = PartBegin bytes* None                               as events; the bytes are never empty

An attacker can exploit input that two readers read differently, so this reader is strict. A line that begins with the
boundary must open a part or close the form, also after a lone CR or LF, and in or directly after the head of a part.
Preamble and epilogue have at most 1 KiB each, the preamble must not contain the boundary, and the closing boundary is
required.
"""

import re
from collections.abc import Callable

from app.wire.multipart.head import (
    MAX_PART_HEADERS,
    MalformedForm,
    PartBegin,
    check_length,
    parse_head,
    parse_header,
    plain_head,
)

MAX_PARTS = 1000
MAX_PREAMBLE_BYTES = 1024
MAX_EPILOGUE_BYTES = 1024

Event = PartBegin | bytes | None

# A state of the parser: reads from a position in the bytes and returns the next position, or None to wait for more.
_Step = Callable[["MultipartReader", bytes, int, list[Event]], int | None]


class MultipartReader:
    """Reads one form. `feed` the bytes that arrive, then `finish` to check that the form is complete."""

    def __init__(self, boundary: str) -> None:
        self._line = b"--" + boundary.encode()
        self._step: _Step = MultipartReader._opening
        # Bytes that have no meaning before more arrive.
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
        """Raises MalformedForm unless the closing boundary has been read."""
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
        self._step = MultipartReader._after_boundary
        return found + len(self._line)

    def _after_boundary(self, data: bytes, at: int, _events: list[Event]) -> int | None:
        """Reads the bytes after a boundary at the beginning of a line."""
        suffix = data[at : at + 2]
        if suffix == b"\r\n":
            self._parts += 1
            if self._parts > MAX_PARTS:
                raise MalformedForm(f"it has more than {MAX_PARTS} parts")
            self._step = MultipartReader._head
        elif suffix == b"--":
            self._step = MultipartReader._epilogue
        elif suffix in (b"", b"\r", b"-"):
            self._held = suffix
            return None
        else:
            raise _no_delimiter()
        return at + 2

    def _head(self, data: bytes, at: int, events: list[Event]) -> int | None:
        """Reads a head in the form that SDKs send at once, and any other head line by line."""
        plain = plain_head(data, at)
        if plain is None:
            self._step, self._headers = MultipartReader._header, []
            return at
        events.append(plain[0])
        self._step = MultipartReader._after_head
        return plain[1]

    def _header(self, data: bytes, at: int, events: list[Event]) -> int | None:
        """Reads a line of a head; an empty line ends it."""
        end = data.find(b"\r\n", at)
        if end < 0:
            self._held = data[at:]
            check_length(self._held.removesuffix(b"\r"))
            return None
        line = data[at:end]
        if not line:
            events.append(parse_head(self._headers))
            self._step = MultipartReader._after_head
        elif line.startswith(self._line):
            raise _no_delimiter()
        elif len(self._headers) == MAX_PART_HEADERS:
            raise MalformedForm(f"a part has more than {MAX_PART_HEADERS} headers")
        else:
            self._headers.append(parse_header(line))
        return end + 2

    def _after_head(self, data: bytes, at: int, _events: list[Event]) -> int | None:
        """Checks the first bytes of a part: a line begins there, and the CRLF before it belongs to the head."""
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
            # A single search for the next boundary at the beginning of a line, however often it occurs elsewhere.
            match = re.compile(b"[\r\n]" + re.escape(self._line)).search(data, found)
            found = match.end() - len(self._line) if match else -1
        if found >= 0:
            if data[max(at, found - 2) : found] != b"\r\n":
                raise _no_delimiter()
            if found - 2 > at:
                events.append(data[at : found - 2])
            events.append(None)
            self._step = MultipartReader._after_boundary
            return found + len(self._line)
        end = self._data_end(data, at)
        if end > at:
            events.append(data[at:end])
        self._held = data[end:]
        return None

    def _data_end(self, data: bytes, at: int) -> int:
        """The end of the bytes that are data: the last line break if a boundary may begin after it, else all bytes."""
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
    return MalformedForm("it does not begin with the boundary in its Content-Type")


def _no_delimiter() -> MalformedForm:
    return MalformedForm("a line begins with its boundary but is not a delimiter")
