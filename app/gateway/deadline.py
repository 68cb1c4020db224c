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
    """One limit; may be used again and again, by one task at a time. `total` is in seconds from now, over all uses."""

    def __init__(self, total: float | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = None if total is None else self._loop.time() + total
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
        """So long from now; None for as long as the total lasts."""
        limit = None if seconds is None else self._loop.time() + seconds
        self._when = limit if self._end is None else self._end if limit is None else min(limit, self._end)
        if self._when is not None and (self._timer is None or self._when < self._timer_when):
            self._set_timer(self._when)

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
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        task, self._task, self._when = self._task, None, None
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
