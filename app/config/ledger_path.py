"""Where the ledger is when no setting names a path: one place for each user or service, in every working directory."""

import os
from collections.abc import Mapping
from pathlib import Path

from app.config.section import InvalidConfig

FILE_NAME = "ledger.db"
DEFAULT = Path("~/.local/state/audio-gateway") / FILE_NAME
FORMER_DEFAULT = Path("data") / FILE_NAME


def default_path(environ: Mapping[str, str]) -> Path:
    """The default path in this environment.

    systemd sets STATE_DIRECTORY for a unit with StateDirectory=. XDG_STATE_HOME is that of the XDG Base Directory
    Specification, which has relative paths ignored. InvalidConfig if there is no home directory, or if a ledger lies
    where the default was before: which of the two is meant cannot be known.
    """
    path = _default(environ)
    if os.path.lexists(FORMER_DEFAULT):
        raise InvalidConfig(
            f"ledger.path: is not set, and {FORMER_DEFAULT.absolute()} exists, which was the default before; now the "
            f"default is {path}. Set path in [ledger] (or AUDIO_GATEWAY_LEDGER__PATH) to the one to use, "
            "or move the file away"
        )
    return path


def expanded(path: Path) -> Path:
    """The path with a leading `~` replaced; ValueError if there is no such home directory."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError("has a ~, and there is no such home directory; name an absolute path") from error


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
