"""Loads the settings: the environment first, then the file, then the defaults."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import InitSettingsSource

from app.config.environment import EnvironmentSource, variable_of
from app.config.ledger_path import LedgerPathSource
from app.config.section import InvalidConfig, Section
from app.config.settings import Config
from app.validation_messages import plain_message


def load(file: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """The settings of this file (None: the defaults) under this environment.

    InvalidConfig names the file or variable, the setting and the reason in one line.
    """
    toml = InitSettingsSource(Config, _read_toml(file) if file else {})
    sources = (EnvironmentSource(environ), toml, LedgerPathSource(Config, environ))  # the first one wins
    try:
        return Config(_build_sources=(sources, {}))
    except ValidationError as error:
        raise InvalidConfig(_first_error(error, file, environ)) from None


def _read_toml(file: Path) -> dict[str, Any]:
    """The tables of the file.

    Not TomlConfigSettingsSource of pydantic-settings: it ignores a missing file and a pipe, and takes no byte order
    mark.
    """
    try:
        tables = tomllib.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise InvalidConfig(f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{file}: {error}") from None
    except RecursionError:
        raise InvalidConfig(f"{file}: is nested too deeply") from None
    for name, field in Config.model_fields.items():
        is_section = isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        # A variable of this section would replace the wrong value, and so hide it.
        if is_section and not isinstance(tables.get(name, {}), dict):
            raise InvalidConfig(f"{file}: {name}: must be a table")
    return tables


def _first_error(error: ValidationError, file: Path | None, environ: Mapping[str, str]) -> str:
    """The first error as one line: its source, the setting, the reason."""
    first = error.errors(include_url=False, include_input=False)[0]
    setting = [str(step) for step in first["loc"]]
    variable = variable_of(setting, environ)
    source = f"environment variable {variable}" if variable else str(file or "the defaults")
    reason = "no such setting" if first["type"] == "extra_forbidden" else plain_message(first["msg"])
    return f"{source}: {'.'.join(setting)}: {reason}" if setting else f"{source}: {reason}"
