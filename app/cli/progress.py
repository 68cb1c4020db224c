"""A progress bar on standard error."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

DELAY_SECONDS = 1.0


class ProgressBar:
    """Shows progress on a terminal once the work has taken `delay` seconds, and disappears at the end.

    Call it with the amounts done and in total.
    """

    def __init__(self, label: str, delay: float = DELAY_SECONDS) -> None:
        self._label = label
        self._delay = delay
        self._console = Console(stderr=True)
        self._started = time.monotonic()
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        if self._progress is None and time.monotonic() - self._started >= self._delay:
            self._progress = self._start()
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=done, total=total)

    def _start(self) -> Progress:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        # Standard output must stay untouched: it can be the file that the command writes.
        progress = Progress(
            *columns,
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not self._console.is_terminal,
        )
        progress.add_task(self._label)
        progress.start()
        return progress
