"""A deadline that can be moved at every chunk.

`asyncio.timeout` sets a new timer for every move. This one keeps its timer when the deadline moves further away: a
timer that fires too early checks the deadline and is set again.

    deadline = Deadline()
    with deadline.within(5):            # TimeoutError when the five seconds are over
        message = await receive()
"""

import asyncio
from types import TracebackType
from typing import Self


class Deadline:
    """One deadline, which one task at a time may use repeatedly.

    `total` is a limit in seconds over all uses. Only time inside the context counts, without the time between `suspend`
    and the next `allow`.
    """

    def __init__(self, total: float | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._remaining = total
        self._counting_since: float | None = None
        self._when: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_when = 0.0
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._expired = False

    def within(self, seconds: float | None) -> Self:
        """Returns the context. It raises TimeoutError when this time, or the total, has passed."""
        self.allow(seconds)
        return self

    def allow(self, seconds: float | None) -> None:
        """Moves the deadline to this many seconds from now; None for what is left of the total."""
        now = self._loop.time()
        if self._remaining is not None:
            if self._counting_since is not None:
                self._remaining -= now - self._counting_since
            self._counting_since = None if self._task is None else now
            if seconds is None or self._remaining < seconds:
                seconds = self._remaining
        self._when = None if seconds is None else now + seconds
        if self._when is not None and (self._timer is None or self._when < self._timer_when):
            self._set_timer(self._when)

    def suspend(self) -> None:
        """Removes the deadline, and stops counting, until the next `allow`."""
        if self._counting_since is not None and self._remaining is not None:
            self._remaining -= self._loop.time() - self._counting_since
        self._counting_since = self._when = None

    def close(self) -> None:
        """Removes the deadline and its timer."""
        self._when = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling, self._expired = task, task.cancelling(), False
        if self._remaining is not None:
            self._counting_since = self._loop.time()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.suspend()
        task, self._task = self._task, None
        if (
            self._expired
            and task is not None
            and task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise TimeoutError from error

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_when = self._loop.call_at(when, self._check), when

    def _check(self) -> None:
        self._timer = None
        if self._when is None or self._task is None:
            return
        if self._loop.time() < self._when:
            self._set_timer(self._when)
        else:
            self._expired = True
            self._task.cancel()
