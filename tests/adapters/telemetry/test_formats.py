"""A line of the log as text: for programs on a file, for people on a terminal."""

import json
import os
import pty
from pathlib import Path

import pytest

from app.adapters.telemetry.formats import as_json, as_words, chosen
from app.config import LogFormat

NOON = 1_795_348_800.25  # 2026-11-22T12:00:00.250Z


def test_json_is_one_object_with_its_time_in_utc() -> None:
    text = as_json({"time": NOON, "level": "info", "event": "log", "message": "two\nlines, é"})
    assert "\n" not in text
    assert json.loads(text) == {
        "time": "2026-11-22T12:00:00.250Z",
        "level": "info",
        "event": "log",
        "message": "two\nlines, é",
    }


def test_words_begin_with_what_people_look_for() -> None:
    line = {"time": NOON, "level": "warning", "event": "request", "request_id": "req_1", "error": None, "status": 502}
    assert as_words(line) == "12:00:00.250 WARNING request request_id=req_1 status=502"


def test_of_a_message_the_event_is_left_out() -> None:
    line = {
        "time": NOON,
        "level": "error",
        "event": "log",
        "logger": "a.b",
        "message": "no disk",
        "request_id": "req_1",
    }
    assert as_words(line) == "12:00:00.250 ERROR   no disk request_id=req_1"


def test_nothing_can_pass_for_a_line_of_the_log_or_move_the_terminals_cursor() -> None:
    text = as_words(
        {"time": NOON, "level": "info", "event": "log", "message": "a\n12:00 ERROR b\x1b[2J", "x": "\r\u2028"}
    )
    assert text.splitlines() == [text]
    assert "\x1b" not in text
    assert r"a\n12:00 ERROR b\x1b[2J x=\r\u2028" in text


def test_an_exception_stands_below_its_line() -> None:
    text = as_words({"time": NOON, "level": "error", "event": "log", "message": "m", "exception": "Traceback\nE: e\n"})
    assert text == "12:00:00.250 ERROR   m\nTraceback\nE: e"


@pytest.mark.parametrize(
    ("format", "on_terminal", "in_file"),
    [("auto", as_words, as_json), ("json", as_json, as_json), ("console", as_words, as_words)],
)
def test_what_a_sink_gets(format: LogFormat, on_terminal: object, in_file: object, tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as screen, (tmp_path / "log").open("w") as file:
        assert chosen(format, screen) is on_terminal
        assert chosen(format, file) is in_file
    os.close(controller)
