"""What the gateway tells about itself, and whom: metrics, traces, its log."""

import logging
from typing import Literal

from pydantic import Field

from app.config.section import Section

LogFormat = Literal["auto", "json", "console"]


class MetricsSettings(Section):
    """`/metrics`; `open` answers everybody, not only this machine and the admin key."""

    enabled: bool = True
    open: bool = False


class TraceSettings(Section):
    """Where spans go, as OTLP over HTTP; without an endpoint there are none."""

    endpoint: str | None = Field(None, pattern=r"^https?://[^\s@?#]+$")


class LogSettings(Section):
    format: LogFormat = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def number(self) -> int:
        """The level as `logging` numbers it."""
        return logging.getLevelNamesMapping()[self.level.upper()]
