"""The ledger's path when no setting names one. It does not depend on the working directory."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from app.config.section import InvalidConfig

FILE_NAME = "ledger.db"
DEFAULT = Path("~/.local/state/audio-gateway") / FILE_NAME
FORMER_DEFAULT = Path("data") / FILE_NAME


class LedgerPathSource(PydanticBaseSettingsSource):
    """Sets `ledger.path` to the default path in `environ`, unless an earlier source has set it."""

    def __init__(self, settings: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings)
        self._environ = environ

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not used: this source sets a value of a table, not a whole field."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        if "path" in self.current_state.get("ledger", {}):
            return {}
        return {"ledger": {"path": default_path(self._environ)}}


def default_path(environ: Mapping[str, str]) -> Path:
    """The default path in this environment.

    systemd sets STATE_DIRECTORY for a unit with StateDirectory=. The XDG Base Directory Specification defines
    XDG_STATE_HOME, and requires programs to ignore relative paths in it.

    InvalidConfig if the user has no home directory. InvalidConfig also if a ledger lies at the former default path:
    the gateway cannot know which of the two is meant.
    """
    path = _default(environ)
    if os.path.lexists(FORMER_DEFAULT):
        raise InvalidConfig(
            f"ledger.path: is not set, and {FORMER_DEFAULT.absolute()} exists, which was the default before; the "
            f"default is now {path}. Set path in [ledger] (or AUDIO_GATEWAY_LEDGER__PATH) to the ledger to use, "
            "or move the file away"
        )
    return path


def expanded(path: Path) -> Path:
    """The path with a leading `~` replaced; ValueError if there is no such home directory."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError("begins with ~, but that home directory does not exist; name an absolute path") from error


def _default(environ: Mapping[str, str]) -> Path:
    service = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if service:
        return Path(service) / FILE_NAME
    state = Path(environ.get("XDG_STATE_HOME", ""))
    if state.is_absolute():
        return state / "audio-gateway" / FILE_NAME
    try:
        return expanded(DEFAULT)
    except ValueError:
        raise InvalidConfig(
            "ledger.path: is not set, and this user has no home directory; set path in [ledger]"
        ) from None
