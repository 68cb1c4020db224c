"""Durations and days in options, and times in tables. All of them are in UTC."""

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from app.cli.exit_codes import FAILED, MISUSED
from app.cli.messages import stop
from app.services.usage import Period

_DAY = ["%Y-%m-%d"]

Since = Annotated[datetime | None, typer.Option(formats=_DAY, metavar="YYYY-MM-DD", help="The first UTC day.")]
Until = Annotated[datetime | None, typer.Option(formats=_DAY, metavar="YYYY-MM-DD", help="The last UTC day, included.")]

MINUTE_MS = 60_000
DAY_MS = 86_400_000
MAX_DURATION_MS = 36_525 * DAY_MS

_UNITS_MS = {"m": MINUTE_MS, "h": 60 * MINUTE_MS, "d": DAY_MS, "w": 7 * DAY_MS}


def parse_duration_ms(text: str) -> int:
    """The milliseconds of a duration such as 90d, 12h or 4w; ends the command if the text is not one."""
    match = re.fullmatch(r"(\d{1,9})([mhdw])", text)
    if match is None or (duration := int(match[1]) * _UNITS_MS[match[2]]) > MAX_DURATION_MS:
        stop(f"{text!r} is not a duration such as 90d, 12h or 4w, of at most a hundred years", MISUSED)
    return duration


def period_between(since: datetime | None, until: datetime | None) -> Period:
    """The period from one day to another, both included; ends the command if they are in the wrong order."""
    if since is not None and until is not None and since > until:
        stop(f"--since {since.date()} is after --until {until.date()}", FAILED)
    return Period(since and since.date(), until and until.date())


def minute_text(at_ms: int | None) -> str:
    """The time as a table shows it, to the minute; empty for None."""
    return "" if at_ms is None else _utc(at_ms).strftime("%Y-%m-%d %H:%M")


def _utc(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
