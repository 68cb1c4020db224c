"""Lines of the log as text: JSON in a file, words on a terminal."""

import json
import os
import pty
from pathlib import Path

import pytest

from app.adapters.telemetry.log_formats import as_json, as_words, select_format
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


SETTLED: dict[str, object] = {
    "time": NOON,
    "level": "info",
    "event": "request",
    "request_id": "req_01m81pewaaa0y7kqxrajn50w4w",
    "endpoint": "/v1/audio/transcriptions",
    "status": 200,
    "error": None,
    "caller": "search-team",
    "key_id": "key_01m81pewaaa0y7kqxrajn50w4w",
    "model": "whisper-1",
    "hold_usd": "0.0032",
    "state": "settled",
    "audio_seconds": 31.5,
    "cost_usd": "0.00315",
    "upstream_request_id": "up_1",
    "total_ms": 812,
}


def test_a_request_is_one_short_line() -> None:
    text = as_words(SETTLED)
    assert text == "12:00:00.250 200 transcriptions search-team whisper-1 31.5s 812ms $0.00315"
    assert len(text) <= 80


def test_a_failure_has_its_error_and_the_request_id() -> None:
    cut = SETTLED | {"level": "warning", "status": 502, "error": "upstream_cut", "state": "unknown"}
    assert as_words(cut) == (
        "12:00:00.250 WARNING 502 transcriptions search-team whisper-1 upstream_cut 31.5s 812ms $0.00315 unknown "
        "req_01m81pewaaa0y7kqxrajn50w4w"
    )
    names = ("time", "level", "event", "request_id", "endpoint")
    unauthenticated = {name: SETTLED[name] for name in names} | {
        "status": 401,
        "error": "invalid_api_key",
        "total_ms": 1,
    }
    assert as_words(unauthenticated) == (
        "12:00:00.250 401 transcriptions - invalid_api_key 1ms req_01m81pewaaa0y7kqxrajn50w4w"
    )


def test_a_line_with_a_message_omits_the_event() -> None:
    line = {
        "time": NOON,
        "level": "error",
        "event": "log",
        "logger": "a.b",
        "message": "no disk",
        "request_id": "req_1",
    }
    assert as_words(line) == "12:00:00.250 ERROR   no disk request_id=req_1"


def test_no_value_can_forge_a_line_or_control_the_terminal() -> None:
    forged = "a\n12:00 ERROR b\x1b[2J"
    message = as_words({"time": NOON, "level": "info", "event": "log", "message": forged, "x": "\r\u2028"})
    for text in (message, as_words(SETTLED | {"model": forged})):
        assert text.splitlines() == [text]
        assert "\x1b" not in text
    assert r"a\n12:00 ERROR b\x1b[2J x=\r\u2028" in message


def test_an_exception_follows_its_line() -> None:
    text = as_words({"time": NOON, "level": "error", "event": "log", "message": "m", "exception": "Traceback\nE: e\n"})
    assert text == "12:00:00.250 ERROR   m\nTraceback\nE: e"


@pytest.mark.parametrize(
    ("format", "on_terminal", "in_file"),
    [("auto", as_words, as_json), ("json", as_json, as_json), ("console", as_words, as_words)],
)
def test_the_format_for_an_output(format: LogFormat, on_terminal: object, in_file: object, tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as screen, (tmp_path / "log").open("w") as file:
        assert select_format(format, screen) is on_terminal
        assert select_format(format, file) is in_file
    os.close(controller)
