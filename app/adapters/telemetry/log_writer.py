"""The log: any thread queues lines, and a thread of its own writes them to standard output.

A slow output must not block the event loop. If it accepts nothing for long, or fails, lines are dropped and counted. A
line reports the count as soon as one can be written.

The standard library's QueueHandler and QueueListener do this. The queue holds lines in place of log records, which
would cost a request 3.5 µs more.
"""

import logging
import queue
import sys
import threading
import time
import traceback
from contextlib import suppress
from contextvars import ContextVar
from logging.handlers import QueueHandler, QueueListener
from typing import Any, TextIO

from app.adapters.telemetry.log_formats import Format, Line, as_json

MAX_QUEUED_LINES = 10_000
STOP_SECONDS = 5.0

# How long the writer sleeps when the queue is empty, so that a busy gateway wakes it once for many lines.
BATCH_SECONDS = 0.01


class LogQueue(QueueHandler):
    """Queues lines and log records from any thread, in order, without blocking.

    A request sets `request_id` in its context. Every log record of that context gets it as a field.
    """

    def __init__(self) -> None:
        # A SimpleQueue may be used by a finalizer or signal handler that interrupts another use of it.
        self.lines: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        super().__init__(self.lines)
        self.request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
        self.dropped = 0
        self._dropped_lock = threading.Lock()

    def write(self, line: Line) -> None:
        """Adds the time to the line and queues it. Drops it if the queue is full."""
        if self.lines.qsize() < MAX_QUEUED_LINES:
            self.lines.put(with_time(line))
        else:
            self.count_dropped()

    def count_dropped(self) -> None:
        with self._dropped_lock:
            self.dropped += 1

    def enqueue(self, record: Any) -> None:
        self.write(record)

    def prepare(self, record: logging.LogRecord) -> Line:
        line: Line = {
            "level": record.levelname.lower(),
            "event": "log",
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (request_id := self.request_id.get()) is not None:
            line["request_id"] = request_id
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return line


class LogWriter(QueueListener):
    """Writes the lines of a queue on its own thread, from `start` to `stop`. It flushes when the queue is empty."""

    def __init__(self, log_queue: LogQueue, output: TextIO = sys.stdout, format: Format = as_json) -> None:
        super().__init__(log_queue.lines)
        self._log_queue = log_queue
        self._output = output
        self._format = format
        self._reported = 0

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Writes the queued lines and ends the thread. Returns after `timeout` seconds at most."""
        stopping = threading.Thread(target=self._drain, daemon=True)
        stopping.start()
        stopping.join(timeout)

    def handle(self, record: Any) -> None:
        log_queue = self._log_queue
        if not self._write(record, flush=log_queue.lines.empty() or log_queue.dropped > self._reported):
            log_queue.count_dropped()
        elif log_queue.dropped > self._reported:
            self._report_dropped(log_queue.dropped)
        if log_queue.lines.empty():
            time.sleep(BATCH_SECONDS)

    def _drain(self) -> None:
        super().stop()
        with suppress(OSError, ValueError):
            self._output.flush()

    def _write(self, line: Line, *, flush: bool) -> bool:
        """Returns whether the line is written. No line and no output ends the thread."""
        try:
            self._output.write(self._format(line) + "\n")
            if flush:
                self._output.flush()
        except Exception:
            return False
        return True

    def _report_dropped(self, dropped: int) -> None:
        message = f"{dropped - self._reported} lines of this log could not be written"
        line: Line = {"level": "warning", "event": "log", "logger": "audio_gateway.log", "message": message}
        if self._write(with_time(line), flush=True):
            self._reported = dropped


def with_time(line: Line) -> Line:
    """Returns the line with the current time, in seconds since the epoch, as its first field."""
    return {"time": time.time(), **line}
