"""Readers that pull, over bytes that are pushed.

An upload arrives in chunks, and a parser of a container is simplest when it can ask for bytes. So each reader here is a
generator, of type `Reading`. It yields how many bytes it wants to see next and receives them without passing them; it
receives fewer only at the end of the file. It passes bytes with `Cursor.skip`, counts them with `skipped`, or looks for
a pattern with `find`:

    def read(self, cursor: Cursor) -> Reading[None]:
        head = yield 8
        if len(head) < 8:
            return                       # the file ends here
        cursor.skip(8 + size_of(head))   # arithmetic: nothing looks at the bytes that are passed

`Cursor.feed` takes a chunk, and resumes the reader as soon as the bytes that it wants are there. So what a reader sees
depends on the bytes alone, never on how they are split into chunks. Nothing raises on a short file.

Three things limit the cost:

- The window holds only the last chunk and the bytes that the reader has not passed yet.
- `confine` makes the file end early for the reader, so that recognition looks at the head of a file only.
- The work of a reader is counted in bytes. Each step costs `STEP` bytes, and each byte that passes pays for one byte of
  work. Unused pay is saved up to `SAVED_WORK`, which is also the balance at the start. For a reader that has used up
  its balance, the file ends. Without that limit, 25 MiB of two-byte elements would take 13 million steps.

Work depends on the contents of the file, never on how often the reader waits, so it does not depend on the chunks
either. A loop over the bare window, which passes many short items at once, takes only items that pay for themselves,
and leaves all others to single steps.
"""

import re
from collections.abc import Callable, Generator
from typing import Final, TypeVar

T = TypeVar("T")
Reading = Generator[int, bytes, T]
"""A reader, or a part of one that returns T: yields how many bytes it wants, and receives them."""

STEP: Final = 20
"""The work of one step, in bytes that pay for it: one step of a simple reader takes 0.5 us."""

SAVED_WORK: Final = 65_536
"""The most work that bytes pay for in advance: most files begin with many short elements."""

TO_THE_END: Final = 1 << 62
"""A number of bytes beyond the end of any file."""


class Cursor:
    """A reader's position in a file that arrives in chunks.

    window: the bytes in memory. at: the position in the window, or beyond it while the reader passes bytes that have
    not arrived. size: the bytes fed so far. exhausted: the reader used up its work, so the file ended early for it.
    """

    def __init__(self, read: Callable[["Cursor"], Reading[object]]) -> None:
        self.window = b""
        self.at = 0
        self.size = 0
        self.exhausted = False
        self._window_start = 0  # the offset of the window in the file
        self._limit = TO_THE_END
        self._work = -SAVED_WORK
        self._ended = False
        self._reading = read(self)
        self._wanted = next(self._reading, None)  # None once the reader has returned

    @property
    def position(self) -> int:
        """The offset in the file of the next byte that the reader will see."""
        return self._window_start + self.at

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the file."""
        self.size += len(data)
        if self._wanted is None:
            return
        if not self.window and self.at >= len(data) and self.size < self._limit:
            self.at -= len(data)
            self._window_start += len(data)
            return
        self.window = self.window + data if self.window else data
        if self.size >= self._limit:
            self._end_at_limit()
        self._resume(self._wanted)

    def finish(self) -> None:
        """Marks the end of the file."""
        self._ended = True
        if self._wanted is not None:
            self._resume(self._wanted)

    def _resume(self, wanted: int) -> None:
        """Runs the reader as far as the bytes in the window reach."""
        try:
            while self._ended or wanted <= len(self.window) - self.at:
                wanted = self._reading.send(self.window[self.at : self.at + wanted])
        except StopIteration:
            self._wanted = None
            self.window, self.at = b"", 0
            return
        self._wanted = wanted
        passed = min(self.at, len(self.window))
        self.window = self.window[passed:]
        self.at -= passed
        self._window_start += passed

    def skip(self, count: int, work: int = STEP) -> None:
        """Passes `count` bytes, at the cost of a step."""
        self.at += count
        self._work += work
        passed = self._window_start + self.at
        if self._work > passed:
            self.exhausted = True
            self.confine(0)
        elif self._work < passed - SAVED_WORK:
            self._work = passed - SAVED_WORK

    def spend(self, work: int) -> None:
        """Counts work in addition to the steps."""
        self.skip(0, work)

    def skipped(self, count: int, work: int = STEP) -> Reading[int]:
        """As `skip`, but returns how many of the bytes are present."""
        start = self._window_start + self.at
        self.skip(count, work)
        yield 0
        return max(0, min(count, self._window_start + len(self.window) - start))

    def find(self, pattern: re.Pattern[bytes], width: int) -> Reading[bool]:
        """Passes the bytes before the next match of `pattern`; every match must be `width` bytes long.

        Returns whether there is a match. The bytes that pass pay for the search; handling a match is a separate step.
        """
        while (match := pattern.search(self.window, self.at)) is None:
            self.at = max(self.at, len(self.window) - width + 1)
            if self._ended:
                return False
            yield len(self.window) - self.at + 1
        self.at = match.start()
        return True

    def pass_until(self, mark: bytes, count: int) -> Reading[bool]:
        """Passes `count` bytes, or those before `mark` if it begins among them; returns whether it does.

        The bytes that pass pay for the search.
        """
        left, overlap = count, len(mark) - 1
        while left > 0:
            size = min(left, max(1, len(self.window) - self.at - overlap))
            data = yield size + overlap
            found = data.find(mark)
            if 0 <= found < size:
                self.at += found
                return True
            size = left if len(data) < size + overlap else size
            self.at += size
            left -= size
        return False

    def confine(self, count: int) -> None:
        """Ends the file for the reader after the next `count` bytes."""
        self._limit = min(self._limit, self._window_start + self.at + count)
        if self.size >= self._limit:
            self._end_at_limit()

    def _end_at_limit(self) -> None:
        self.window = self.window[: max(0, self._limit - self._window_start)]
        self._ended = True
