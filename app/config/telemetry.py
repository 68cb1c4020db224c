"""The settings of metrics, traces and the log."""

import logging
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from app.config import secret
from app.config.section import Section

LogFormat = Literal["auto", "json", "console"]


class MetricsSettings(Section):
    """`/metrics`. With `open` it needs no key; otherwise it needs the key in `key_file` or the admin key."""

    enabled: bool = True
    open: bool = False
    key_file: Path | None = None

    def key(self) -> SecretStr | None:
        """The key for `/metrics` only, or None if none is set; InvalidConfig if it is not valid."""
        if self.key_file is None:
            return None
        key = secret.text_in(self.key_file, "metrics.key_file")
        return secret.chosen_key(key, str(self.key_file))


class TraceSettings(Section):
    """The endpoint that receives spans, as OTLP over HTTP. Without one, traces are off."""

    endpoint: str | None = Field(None, pattern=r"^https?://[^\s@?#]+$")


class LogSettings(Section):
    format: LogFormat = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def number(self) -> int:
        """The number of the level in `logging`."""
        return logging.getLevelNamesMapping()[self.level.upper()]
