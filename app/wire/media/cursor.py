"""A cursor over bytes that are pushed: a reader is written as though it pulled, and sleeps where the bytes end.

A reader is a generator. It yields how many bytes it wants to see next and is sent them, without passing them; fewer
only at the end of the file. It passes over bytes (`skip`), asks how many of them there were (`skipped`), or looks for a
pattern (`find`):

    def read(self, cursor: Cursor) -> Reading[None]:
        head = yield 8
        if len(head) < 8:
            return                       # the file ends here
        cursor.skip(8 + size_of(head))   # arithmetic: bytes passed over are never looked at

What a reader sees depends on the bytes alone, never on how they were split: it cannot tell "not yet" from "there", and
it learns of the end by fewer bytes than it wanted. Nothing raises on a short file.

Three things bound the cost. The window holds what was fed last and what a reader has not yet passed. `confine` makes
the file end early for the reader, which is how a look at its head is confined. And the work of a reader is counted in
bytes: each step costs `STEP` bytes, each byte passed pays for one, and what was not used is kept up to `SAVED_WORK`,
which is also the balance at the start. A reader that has used up its balance finds the file at its end. Without that,
25 MiB of elements of two bytes would be 13 million turns in the event loop.

Work is counted by what stands in the file, never by how often the reader had to wait for bytes, so that it does not
depend on the split either. A loop on the bare window, which takes many short things at a time, takes only those that
pay for themselves and leaves all others to steps that are counted one by one.
"""

import re
from collections.abc import Callable, Generator
from typing import Final, TypeVar

T = TypeVar("T")
Reading = Generator[int, bytes, T]

STEP: Final = 20
"""The work of one step, in bytes that pay for it: one turn of a reader that looks at little takes 0.5 us."""

SAVED_WORK: Final = 65_536
"""The most work that bytes pay for in advance: short elements stand together, at the beginning of most files."""

_NO_LIMIT: Final = 1 << 62


class Cursor:
    """A place in a file of which the bytes arrive by and by, and the reader that waits there.

    `at` is the place in the window, or behind it as long as bytes that the reader passes over are still to come.
    """

    def __init__(self, read: Callable[["Cursor"], Reading[object]]) -> None:
        self.window = b""
        self.at = 0
        self.size = 0
        self.exhausted = False  # the reader did more work than the bytes pay for, and was cut short
        self._before = 0  # bytes of the file that the window is behind
        self._limit = _NO_LIMIT
        self._work = -SAVED_WORK
        self._ended = False
        self._reading = read(self)
        self._wanted = next(self._reading, None)  # None when the reader has returned

    @property
    def position(self) -> int:
        """The offset in the file of the next byte that the reader will see."""
        return self._before + self.at

    def feed(self, data: bytes) -> None:
        """Hand on more bytes of the file."""
        self.size += len(data)
        if self._wanted is None:
            return
        if not self.window and self.at >= len(data) and self.size < self._limit:
            self.at -= len(data)
            self._before += len(data)
            return
        self.window = self.window + data if self.window else data
        if self.size >= self._limit:
            self._end_at_limit()
        self._advance(self._wanted)

    def finish(self) -> None:
        """Say that the file has ended."""
        self._ended = True
        if self._wanted is not None:
            self._advance(self._wanted)

    def _advance(self, wanted: int) -> None:
        """Let the reader go on as far as the bytes reach."""
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
        self._before += passed

    def skip(self, count: int, work: int = STEP) -> None:
        """Pass `count` bytes, at the cost of a step."""
        self.at += count
        self._work += work
        passed = self._before + self.at
        if self._work > passed:
            self.exhausted = True
            self.confine(0)
        elif self._work < passed - SAVED_WORK:
            self._work = passed - SAVED_WORK

    def spend(self, work: int) -> None:
        """Count work beyond that of the steps."""
        self.skip(0, work)

    def skipped(self, count: int, work: int = STEP) -> Reading[int]:
        """As `skip`, but returns how many bytes there were."""
        began = self._before + self.at
        self.skip(count, work)
        yield 0
        return max(0, min(count, self._before + len(self.window) - began))

    def find(self, pattern: re.Pattern[bytes], width: int) -> Reading[bool]:
        """Pass the bytes before the next match of `pattern`, all matches of which are `width` bytes long.

        The bytes passed pay for the search; what the reader does with a match is a step of its own.
        """
        while (found := pattern.search(self.window, self.at)) is None:
            self.at = max(self.at, len(self.window) - width + 1)
            if self._ended:
                return False
            yield len(self.window) - self.at + 1
        self.at = found.start()
        return True

    def pass_until(self, mark: bytes, count: int) -> Reading[bool]:
        """Pass `count` bytes, or those before `mark` where it begins among them; returns whether it does.

        The bytes passed pay for the search.
        """
        left, more = count, len(mark) - 1
        while left > 0:
            size = min(left, max(1, len(self.window) - self.at - more))
            data = yield size + more
            found = data.find(mark)
            if 0 <= found < size:
                self.at += found
                return True
            size = left if len(data) < size + more else size
            self.at += size
            left -= size
        return False

    def confine(self, count: int) -> None:
        """Let the file end for the reader behind the next `count` bytes."""
        self._limit = min(self._limit, self._before + self.at + count)
        if self.size >= self._limit:
            self._end_at_limit()

    def _end_at_limit(self) -> None:
        self.window = self.window[: max(0, self._limit - self._before)]
        self._ended = True
