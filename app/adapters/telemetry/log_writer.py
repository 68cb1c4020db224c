"""The log: lines on standard output, made into text and written on a thread of their own.

A slow sink must not stall the event loop. When it is blocked for long, or cannot be written, lines are dropped and
counted, and a line says how many as soon as it can.
"""

import logging
import queue
import sys
import threading
import time
import traceback
from contextlib import suppress
from contextvars import ContextVar
from typing import TextIO

from app.adapters.telemetry.log_formats import Format, Line, as_json

MAX_WAITING_LINES = 10_000
STOP_SECONDS = 5.0

# After a line that nothing waits behind the thread rests, so that a busy gateway wakes it for many lines, not for each.
GATHER_SECONDS = 0.01


class LineWriter:
    """Writes lines from any thread, in order, without making anyone wait.

    Set `request_id` where a request begins, and whatever is logged on its behalf carries it.
    """

    def __init__(self, sink: TextIO = sys.stdout, format: Format = as_json) -> None:
        self._sink = sink
        self._format = format
        self.request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
        self._queue: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._counting = threading.Lock()
        self._told = 0
        self.dropped = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Write what is waiting, and end; without it, if the sink takes nothing for so long."""
        self._queue.put(None)
        self._thread.join(timeout)

    def write(self, line: Line) -> None:
        if self._queue.qsize() < MAX_WAITING_LINES:
            self._queue.put(_stamped(line))
        else:
            self._drop()

    def _run(self) -> None:
        while (line := self._queue.get()) is not None:
            if not self._written(line, flush=self._queue.empty() or self.dropped > self._told):
                self._drop()
            elif self.dropped > self._told:
                self._tell_of_dropped()
            if self._queue.empty():
                time.sleep(GATHER_SECONDS)
        with suppress(OSError, ValueError):
            self._sink.flush()

    def _written(self, line: Line, *, flush: bool) -> bool:
        """Whether the line is written; no line and no sink may end the thread."""
        try:
            self._sink.write(self._format(line) + "\n")
            if flush:
                self._sink.flush()
        except Exception:
            return False
        return True

    def _drop(self) -> None:
        with self._counting:
            self.dropped += 1

    def _tell_of_dropped(self) -> None:
        dropped = self.dropped
        message = f"{dropped - self._told} lines of this log could not be written"
        line: Line = {"level": "warning", "event": "log", "logger": "audio_gateway.log", "message": message}
        if self._written(_stamped(line), flush=True):
            self._told = dropped


class LogHandler(logging.Handler):
    """The standard library's log records as lines."""

    def __init__(self, lines: LineWriter) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        line: Line = {
            "level": record.levelname.lower(),
            "event": "log",
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (request_id := self._lines.request_id.get()) is not None:
            line["request_id"] = request_id
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        self._lines.write(line)


def _stamped(line: Line) -> Line:
    return {"time": time.time(), **line}
