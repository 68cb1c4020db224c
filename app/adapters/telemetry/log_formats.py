"""Formats a line of the log as text: JSON for programs, words for people.

A line's `time` is in seconds since the epoch. Lines are formatted on the log writer's thread.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from app.config import LogFormat

Line = dict[str, object]
Format = Callable[[Line], str]

_ENCODER = json.JSONEncoder(ensure_ascii=False)

# Fields that `as_words` writes first and without their names. The others follow as `name=value`.
_HEAD = ("time", "level", "event", "logger", "message", "exception")


def as_json(line: Line) -> str:
    """Returns one JSON object. Its time is in ISO 8601, UTC."""
    return _ENCODER.encode({**line, "time": _utc(line["time"])})


def as_words(line: Line) -> str:
    """Returns `15:46:25.123 WARNING the ledger cannot be written: disk full`, or `request_in_words` for a request.

    Only an exception has more than one line. Any other value stays in one, so that none looks like a line of the log.
    """
    if line.get("event") == "request":
        return request_in_words(line)
    message = line.get("message") or line.get("event")
    head = f"{_utc(line['time'])[11:23]} {str(line.get('level', '')).upper():7} {_one_line(message)}"
    rest = [f"{name}={_one_line(value)}" for name, value in line.items() if name not in _HEAD and value is not None]
    text = " ".join([head, *rest])
    return f"{text}\n{line['exception']}".rstrip() if "exception" in line else text


def request_in_words(line: Line) -> str:
    """Returns `15:46:25.123 200 transcriptions search-team whisper-1 31.5s 812ms $0.00315`: it fits in 80 columns.

    A failure has its error and the request's id. The ledger, `usage export` and JSON logs have more under that id.
    """
    endpoint = str(line.get("endpoint", "")).rpartition("/")[2]
    failed = line.get("error") is not None or line.get("level") != "info"
    parts = (
        _utc(line["time"])[11:23],
        None if line.get("level") == "info" else str(line.get("level")).upper(),
        line.get("status"),
        endpoint,
        line.get("caller", "-"),
        line.get("model"),
        line.get("error"),
        f"{line['audio_seconds']}s" if line.get("audio_seconds") else None,
        f"{line['total_ms']}ms" if "total_ms" in line else None,
        f"${line['cost_usd']}" if line.get("cost_usd") not in (None, "0") else None,
        "unknown" if line.get("state") == "unknown" else None,
        line.get("request_id") if failed else None,
    )
    return " ".join(_one_line(part) for part in parts if part not in (None, ""))


def select_format(format: LogFormat, output: TextIO) -> Format:
    """Returns the format that the setting selects for this output: `auto` is words on a terminal, JSON elsewhere."""
    return as_words if format == "console" or (format == "auto" and output.isatty()) else as_json


def _one_line(value: object) -> str:
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in str(value))


def _utc(seconds: object) -> str:
    assert isinstance(seconds, float)
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
