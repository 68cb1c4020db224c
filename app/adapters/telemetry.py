"""What the gateway tells about itself: one JSON line for every request, and its log, on standard output.

Lines are made into text and written on a thread of their own: a slow sink must not stall the event loop. When the sink
is blocked for long, or cannot be written, lines are dropped and counted, and a line says how many as soon as it can. No
line holds audio, a transcript, a prompt or a key.
"""

import json
import logging
import queue
import sys
import threading
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from typing import TextIO

from app.gateway.call import ENDPOINTS
from app.gateway.pipeline import Trail
from app.units import seconds_of, usd_text

MAX_WAITING_LINES = 10_000
STOP_SECONDS = 5.0

Line = dict[str, object]


class LineWriter:
    """Writes lines from any thread, in order, without making anyone wait."""

    def __init__(self, sink: TextIO = sys.stdout) -> None:
        self._sink = sink
        self._queue: queue.Queue[Line | None] = queue.Queue(MAX_WAITING_LINES)
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._counting = threading.Lock()
        self._told = 0
        self.dropped = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Write what is waiting, and end; without it, if the sink takes nothing for so long."""
        deadline = time.monotonic() + timeout
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def write(self, line: Line) -> None:
        try:
            self._queue.put_nowait(_stamped(line))
        except queue.Full:
            self._drop()

    def _run(self) -> None:
        while (line := self._queue.get()) is not None:
            if not self._written(line, flush=self._queue.empty() or self.dropped > self._told):
                self._drop()
            elif self.dropped > self._told:
                self._tell_of_dropped()
        with suppress(OSError, ValueError):
            self._sink.flush()

    def _written(self, line: Line, *, flush: bool) -> bool:
        """Whether the line is written; no line and no sink may end the thread."""
        try:
            self._sink.write(json.dumps(line, ensure_ascii=False) + "\n")
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


class LogLines(logging.Handler):
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
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        self._lines.write(line)


class RequestJournal:
    """One line for every request, however it ended."""

    def __init__(self, lines: LineWriter) -> None:
        self._lines = lines

    def request(self, trail: Trail) -> None:
        line: Line = {
            "level": "info" if (trail.status or 500) < 500 else "warning",
            "event": "request",
            "request_id": trail.call.id,
            "endpoint": ENDPOINTS[trail.call.task],
            "status": trail.status,
            "error": trail.error,
        }
        if trail.caller is not None:
            line |= {"caller": trail.caller.name, "key_id": trail.caller.key_id}
        self._lines.write(line | _admitted(trail) | {"total_ms": _now_ms() - trail.call.received_ms})


def _admitted(trail: Trail) -> Line:
    """What is known of a request that was admitted."""
    if trail.permit is None:
        return {"model": trail.model} if trail.model else {}
    hold, outcome = trail.permit.hold, trail.account.outcome if trail.account else None
    line: Line = {
        "model": hold.model,
        "upstream": hold.upstream,
        "container": hold.container,
        "hold_usd": usd_text(hold.bound.cost),
        "admitted_ms": hold.admitted_ms - hold.received_ms,
    }
    if outcome is None:
        return line
    tokens = outcome.tokens
    return line | {
        "state": outcome.state,
        "error": outcome.error or trail.error,
        "source": outcome.source,
        "audio_seconds": seconds_of(outcome.charge.audio),
        "input_tokens": tokens.input if tokens else None,
        "output_tokens": tokens.output if tokens else None,
        "total_tokens": tokens.total if tokens else None,
        "cost_usd": usd_text(outcome.charge.cost),
        "file_bytes": outcome.file_bytes,
        "response_format": outcome.response_format,
        "stream": outcome.stream,
        "upstream_request_id": outcome.upstream_request_id,
        "upstream_ms": outcome.answered_ms - outcome.sent_ms if outcome.answered_ms and outcome.sent_ms else None,
    }


def _stamped(line: Line) -> Line:
    return {"time": _utc(time.time()), **line}


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
