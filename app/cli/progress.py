"""How far a command is: on standard error, once it has taken a second, and to a terminal alone."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

PATIENCE_SECONDS = 1.0


class Bar:
    """Called with what is done and how much there is; gone without a trace in the end."""

    def __init__(self, what: str, patience: float = PATIENCE_SECONDS) -> None:
        self._what = what
        self._patience = patience
        self._console = Console(stderr=True)
        self._begun = time.monotonic()
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        if self._progress is None and time.monotonic() - self._begun >= self._patience:
            self._progress = self._shown()
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=done, total=total)

    def _shown(self) -> Progress:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        # Standard output is left alone: it may be the very thing that is being written.
        shown = Progress(
            *columns,
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not self._console.is_terminal,
        )
        shown.add_task(self._what)
        shown.start()
        return shown
