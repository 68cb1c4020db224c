"""A line of the log as text: JSON for programs, words for people.

`time` is seconds since the epoch. Both are made on the log's own thread, not where the line comes from.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from app.config import LogFormat

Line = dict[str, object]
Format = Callable[[Line], str]

_ENCODER = json.JSONEncoder(ensure_ascii=False)

# Told first, in this order and without their names; what follows is `name=value`.
_HEAD = ("time", "level", "event", "logger", "message", "exception")


def as_json(line: Line) -> str:
    """One JSON object, its time in ISO 8601, UTC."""
    return _ENCODER.encode({**line, "time": _utc(line["time"])})


def as_words(line: Line) -> str:
    """`15:46:25.123 WARNING request request_id=req_... status=502 ...`: what a person looks for, what is None left out.

    No value begins a line of its own but an exception, so that none can pass for a line of the log.
    """
    told = line.get("message") or line.get("event")
    head = f"{_utc(line['time'])[11:23]} {str(line.get('level', '')).upper():7} {_one_line(told)}"
    rest = [f"{name}={_one_line(value)}" for name, value in line.items() if name not in _HEAD and value is not None]
    text = " ".join([head, *rest])
    return f"{text}\n{line['exception']}".rstrip() if "exception" in line else text


def chosen(format: LogFormat, sink: TextIO) -> Format:
    """The format of these settings for this sink: `auto` is words on a terminal, JSON elsewhere."""
    return as_words if format == "console" or (format == "auto" and sink.isatty()) else as_json


def _one_line(value: object) -> str:
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in str(value))


def _utc(seconds: object) -> str:
    assert isinstance(seconds, float)
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
