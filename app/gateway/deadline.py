"""A limit on how long a task waits that can be moved at every chunk.

`asyncio.timeout` sets a timer anew for every move. This one leaves its timer alone when the limit moves away from it: a
timer that comes too early looks, and waits on.

    deadline = Deadline()
    with deadline.within(5):            # TimeoutError when the five seconds are over
        message = await receive()
"""

import asyncio
from types import TracebackType
from typing import Self


class Deadline:
    """One limit; may be used again and again, by one task at a time.

    `total` is in seconds, over all uses. Only time inside of the context counts, and not what passes between `suspend`
    and the next `allow`.
    """

    def __init__(self, total: float | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = total
        self._counted: float | None = None
        self._when: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_when = 0.0
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._passed = False

    def within(self, seconds: float | None) -> Self:
        """The context that is left with TimeoutError when this time, or the total, has passed."""
        self.allow(seconds)
        return self

    def allow(self, seconds: float | None) -> None:
        """Set the limit to so many seconds from now; None for what is left of the total."""
        now = self._loop.time()
        if self._left is not None:
            if self._counted is not None:
                self._left -= now - self._counted
            self._counted = None if self._task is None else now
            if seconds is None or self._left < seconds:
                seconds = self._left
        self._when = None if seconds is None else now + seconds
        if self._when is not None and (self._timer is None or self._when < self._timer_when):
            self._set_timer(self._when)

    def suspend(self) -> None:
        """Set no limit and count nothing until the next `allow`."""
        if self._counted is not None and self._left is not None:
            self._left -= self._loop.time() - self._counted
        self._counted = self._when = None

    def close(self) -> None:
        """Nothing is limited any more."""
        self._when = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling, self._passed = task, task.cancelling(), False
        if self._left is not None:
            self._counted = self._loop.time()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.suspend()
        task, self._task = self._task, None
        if self._passed and task is not None and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_when = self._loop.call_at(when, self._look), when

    def _look(self) -> None:
        self._timer = None
        if self._when is None or self._task is None:
            return
        if self._loop.time() < self._when:
            self._set_timer(self._when)
        else:
            self._passed = True
            self._task.cancel()
