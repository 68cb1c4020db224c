"""What the gateway tells about itself, and whom: metrics, traces, its log."""

import logging
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from app.config import secret
from app.config.section import Section

LogFormat = Literal["auto", "json", "console"]


class MetricsSettings(Section):
    """`/metrics`; `open` answers requests without a key, where others need the one in `key_file` or the admin key."""

    enabled: bool = True
    open: bool = False
    key_file: Path | None = None

    def key(self) -> SecretStr | None:
        """The key that opens `/metrics` alone, or None; InvalidConfig if what is there cannot serve as one."""
        if self.key_file is None:
            return None
        key = secret.text_in(self.key_file, "metrics.key_file")
        return secret.chosen_key(key, str(self.key_file))


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
