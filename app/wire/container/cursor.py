"""A cursor over bytes that are pushed: a reader is written as though it pulled, and sleeps where the bytes end.

A reader is a generator. It asks the cursor for bytes (`peek`), passes over them (`skip`) or looks for a pattern
(`find`), always with `yield from`; where the pushed bytes do not suffice, the bare `yield` inside suspends it until the
next `feed` or `finish`:

    def read(self, cursor: Cursor) -> Reading[None]:
        head = yield from cursor.peek(8)
        if len(head) < 8:
            return                                  # the file ends here
        yield from cursor.skip(8 + size_of(head))   # arithmetic: bytes passed over are never looked at

What a reader sees depends on the bytes alone, never on how they were split: it cannot tell "not yet" from "there", and
it learns of the end by a short `peek`. Nothing raises on a short file.

Three things bound the cost. The window holds what was fed last and what a reader has not yet passed. `limit` makes the
file end early for the reader, which is how a look at its head is confined. And of short steps a reader may take so many
only, in proportion to the bytes passed, or else finds the file at its end: without that, 25 MiB of elements of two
bytes would be 13 million turns in the event loop.
"""

import re
from collections.abc import Callable, Generator
from typing import Final, TypeVar

T = TypeVar("T")
Reading = Generator[None, None, T]

_SHORT: Final = 16  # bytes; a WebM block with 20 ms of Opus at 6 kbit/s has 22
_FREE_STEPS: Final = 65_536


class Cursor:
    """A place in a file of which the bytes arrive by and by, and the reader that waits there."""

    def __init__(self, read: Callable[["Cursor"], Reading[object]]) -> None:
        self.window = b""
        self.at = 0
        self.limit: int | None = None
        self.size = 0
        self.exhausted = False  # the reader took too many short steps, and was cut short
        self._gap = 0
        self._short_steps = 0
        self._ended = False
        self._reading: Reading[object] | None = read(self)

    @property
    def position(self) -> int:
        """The offset in the file of the next byte that the reader will see."""
        return self.size - len(self.window) + self.at

    def feed(self, data: bytes) -> None:
        """Hand on more bytes of the file."""
        self.size += len(data)
        if self._reading is None:
            return
        if self._gap:
            passed = min(self._gap, len(data))
            self._gap -= passed
            data = data[passed:]
        if data:
            self.window = self.window + data if self.window else data
            self._resume()

    def finish(self) -> None:
        """Say that the file has ended."""
        self._ended = True
        while self._reading is not None:
            self._resume()

    def _resume(self) -> None:
        if self._reading is None:
            return
        try:
            next(self._reading)
        except StopIteration:
            self._reading = None
            self.window, self.at = b"", 0
            return
        self.window = self.window[self.at :]
        self.at = 0

    def peek(self, count: int) -> Reading[bytes]:
        """The next `count` bytes, without passing them; fewer at the end of the file."""
        count = 0 if self.exhausted else self._within(count)
        while len(self.window) - self.at < count and not self._ended:
            yield
        return self.window[self.at : self.at + count]

    def skip(self, count: int) -> Reading[int]:
        """Pass `count` bytes; returns how many there were."""
        if count < _SHORT:
            self._short_steps += 1
            self.exhausted |= self._short_steps > _FREE_STEPS + self.position // _SHORT
        return (yield from self.hop(count))

    def hop(self, count: int) -> Reading[int]:
        """As `skip`, but never counted as a short step: for a loop that passes many things at a time."""
        count = self._within(count)
        self._gap = max(0, self.at + count - len(self.window))
        self.at += count - self._gap
        while self._gap and not self._ended:
            yield
        missing, self._gap = self._gap, 0
        return count - missing

    def find(self, pattern: re.Pattern[bytes], width: int) -> Reading[bool]:
        """Pass the bytes before the next match of `pattern`, all matches of which are `width` bytes long."""
        while (found := pattern.search(self.window, self.at)) is None:
            self.at = max(self.at, len(self.window) - width + 1)
            if self._ended or self._within(width) < width:
                return False
            yield
        self.at += self._within(found.start() - self.at)
        return not self.exhausted and self._within(width) == width

    def _within(self, count: int) -> int:
        return count if self.limit is None else max(0, min(count, self.limit - self.position))
