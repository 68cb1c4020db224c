"""Times as options have them, and as tables show them: in UTC."""

import re
from datetime import UTC, datetime

from app.cli.exit_codes import MISUSED, stop

MINUTE_MS = 60_000
DAY_MS = 86_400_000
LONGEST_MS = 36_525 * DAY_MS

_UNITS_MS = {"m": MINUTE_MS, "h": 60 * MINUTE_MS, "d": DAY_MS, "w": 7 * DAY_MS}


def length_ms(text: str) -> int:
    """The length of a time such as 90d, 12h or 4w; ends the command if it is none."""
    match = re.fullmatch(r"(\d{1,9})([mhdw])", text)
    if match is None or (duration := int(match[1]) * _UNITS_MS[match[2]]) > LONGEST_MS:
        stop(f"{text!r} is not a time such as 90d, 12h or 4w, of a hundred years at the most", MISUSED)
    return duration


def minute(at_ms: int | None) -> str:
    """A moment in a table."""
    return "" if at_ms is None else _utc(at_ms).strftime("%Y-%m-%d %H:%M")


def _utc(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
