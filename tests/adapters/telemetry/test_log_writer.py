"""The log's thread outlives every line and every sink, and says what it could not write."""

import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from app.adapters.telemetry import MAX_WAITING_LINES, LineWriter


def lines_in(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def wait_until(predicate: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_line_that_cannot_be_written_is_counted_told_of_and_ends_nothing(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("w", encoding="utf-8") as sink:
        lines = LineWriter(sink)
        for event in ("first", "no text \ud800", "last"):
            lines.write({"event": event})
        lines.write({"event": "no json", "value": object()})
        lines.start()
        wait_until(lambda: lines.dropped == 2)
        lines.write({"event": "after"})
        lines.stop()
    found = lines_in(file.read_text("utf-8"))
    assert [line["event"] for line in found] == ["first", "last", "log", "after", "log"]
    assert [line["message"] for line in found if line["event"] == "log"] == [
        "1 lines of this log could not be written"
    ] * 2


def lost(lines: LineWriter, count: int) -> bool:
    return lines.dropped == count


def test_a_sink_that_fails_ends_nothing() -> None:
    with Path("/dev/full").open("w") as sink:
        lines = LineWriter(sink)
        lines.start()
        for number in range(3):
            lines.write({"event": f"{number}" * 10_000})
            wait_until(partial(lost, lines, number + 1))
        lines.stop()
        assert not lines._thread.is_alive()
        os.dup2(os.open(os.devnull, os.O_WRONLY), sink.fileno())


def test_a_closed_sink_ends_nothing(tmp_path: Path) -> None:
    sink = (tmp_path / "log").open("w")
    sink.close()
    lines = LineWriter(sink)
    lines.start()
    for _ in range(3):
        lines.write({"event": "x"})
    wait_until(lambda: lines.dropped == 3)
    lines.stop()
    assert not lines._thread.is_alive()


def test_a_sink_that_takes_nothing_stops_neither_the_callers_nor_the_stop() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as sink, os.fdopen(reading) as reader:
        lines = LineWriter(sink)
        lines.start()
        lines.write({"event": "long", "text": "x" * 1_000_000})  # more than a pipe holds
        wait_until(lambda: lines._queue.empty())
        for number in range(MAX_WAITING_LINES + 5):
            lines.write({"event": "short", "number": number})
        assert lines.dropped == 5
        begun = time.monotonic()
        lines.stop(timeout=0.2)
        assert time.monotonic() - begun < 20
        found = [json.loads(reader.readline()) for _ in range(MAX_WAITING_LINES + 2)]
        assert [line["number"] for line in found if line["event"] == "short"] == list(range(MAX_WAITING_LINES))
        (told,) = [line for line in found if line["event"] == "log"]
        assert told["message"] == "5 lines of this log could not be written"
        lines.stop()
