"""The log writer survives every line and every output, and reports what it could not write."""

import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from app.adapters.telemetry import MAX_QUEUED_LINES, LogQueue, LogWriter


def parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def wait_until(predicate: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def has_dropped(log_queue: LogQueue, count: int) -> bool:
    return log_queue.dropped == count


def test_a_line_that_cannot_be_written_is_counted_and_reported(tmp_path: Path) -> None:
    file = tmp_path / "log"
    log_queue = LogQueue()
    with file.open("w", encoding="utf-8") as output:
        writer = LogWriter(log_queue, output)
        for event in ("first", "no text \ud800", "last"):
            log_queue.write({"event": event})
        log_queue.write({"event": "no json", "value": object()})
        writer.start()
        wait_until(partial(has_dropped, log_queue, 2))
        log_queue.write({"event": "after"})
        writer.stop()
    lines = parsed(file.read_text("utf-8"))
    assert [line["event"] for line in lines] == ["first", "last", "log", "after", "log"]
    assert [line["message"].split()[0] for line in lines if line["event"] == "log"] == ["1", "1"]


def test_the_writer_continues_after_a_failing_output() -> None:
    log_queue = LogQueue()
    with Path("/dev/full").open("w") as output:
        writer = LogWriter(log_queue, output)
        writer.start()
        for number in range(3):
            log_queue.write({"event": f"{number}" * 10_000})
            wait_until(partial(has_dropped, log_queue, number + 1))
        writer.stop()
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def test_the_writer_continues_after_a_closed_output(tmp_path: Path) -> None:
    log_queue = LogQueue()
    output = (tmp_path / "log").open("w")
    output.close()
    writer = LogWriter(log_queue, output)
    writer.start()
    for _ in range(3):
        log_queue.write({"event": "x"})
    wait_until(partial(has_dropped, log_queue, 3))
    writer.stop()


def test_a_blocked_output_blocks_neither_the_threads_that_log_nor_the_stop() -> None:
    read_end, write_end = os.pipe()
    log_queue = LogQueue()
    with os.fdopen(write_end, "w") as output, os.fdopen(read_end) as reader:
        writer = LogWriter(log_queue, output)
        writer.start()
        log_queue.write({"event": "long", "text": "x" * 1_000_000})  # more than a pipe holds
        wait_until(log_queue.lines.empty)
        for number in range(MAX_QUEUED_LINES + 5):
            log_queue.write({"event": "short", "number": number})
        assert log_queue.dropped == 5
        started = time.monotonic()
        writer.stop(timeout=0.2)
        assert time.monotonic() - started < 20
        lines = [json.loads(reader.readline()) for _ in range(MAX_QUEUED_LINES + 2)]
        assert [line["number"] for line in lines if line["event"] == "short"] == list(range(MAX_QUEUED_LINES))
        (report,) = [line for line in lines if line["event"] == "log"]
        assert report["message"].startswith("5 lines")
        wait_until(log_queue.lines.empty)
