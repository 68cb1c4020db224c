"""All settings: TOML and the environment become one frozen value. The only module that knows pydantic-settings."""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard, get_origin

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from app.config.callers import CallerSettings, LimitSettings
from app.config.catalogue import DEFAULT_MODELS, Model
from app.config.ledger_path import default_path
from app.config.section import InvalidConfig, Section
from app.config.sections import (
    ADMIN_KEY_VARIABLE,
    AdminSettings,
    AlertSettings,
    CorsSettings,
    LedgerSettings,
    ServerSettings,
    TimeoutSettings,
    TlsSettings,
)
from app.config.telemetry import LogSettings, MetricsSettings, TraceSettings
from app.config.upstream import DEFAULT_UPSTREAM, Upstream
from app.validation import plain

ENV_PREFIX = "AUDIO_GATEWAY_"
CONFIG_FILE_VARIABLE = "AUDIO_GATEWAY_CONFIG"

_SERVICE_HOST = "_SERVICE_HOST"
_SERVICE_LINK = r"(_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"


class Config(BaseSettings):
    """All settings of one gateway."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    server: ServerSettings = ServerSettings()
    tls: TlsSettings = TlsSettings()
    cors: CorsSettings = CorsSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    ledger: LedgerSettings = LedgerSettings()
    upstreams: tuple[Upstream, ...] = Field((DEFAULT_UPSTREAM,), min_length=1, max_length=1)
    models: tuple[Model, ...] = Field(DEFAULT_MODELS, min_length=1)
    callers: tuple[CallerSettings, ...] = ()
    limits: LimitSettings = LimitSettings()
    admin: AdminSettings = AdminSettings()
    alerts: AlertSettings = AlertSettings()
    metrics: MetricsSettings = MetricsSettings()
    traces: TraceSettings = TraceSettings()
    logs: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` hands in: the environment and the file, in this order."""
        return (init_settings,)

    @field_validator("models", "callers")
    @classmethod
    def _unique(cls, items: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [getattr(item, "id", None) or item.name for item in items]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"{', '.join(sorted(twice))} stands there twice")
        return items

    @field_validator("callers")
    @classmethod
    def _known_models(cls, callers: tuple[CallerSettings, ...], told: ValidationInfo) -> tuple[CallerSettings, ...]:
        known = {model.id for model in told.data.get("models", ())}
        for caller in callers:
            for model in sorted(set(caller.models or ()) - known):
                raise ValueError(f"{caller.name}.models: {model!r} is not in the catalogue")
        return callers

    @property
    def upstream(self) -> Upstream:
        return self.upstreams[0]


def load(file: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """The settings of this file (None: the defaults) under this environment; InvalidConfig says what is wrong."""
    told = _read(file) if file else {}
    _refuse_unknown_names(environ)
    _refuse_unreadable_arrays(environ)
    try:
        return Config(**_with_ledger(_merged(told, _from_environment(environ)), environ))
    except ValidationError as error:
        raise InvalidConfig(_line(error, file, environ)) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        told = tomllib.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise InvalidConfig(f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{file}: {error}") from None
    except RecursionError:
        raise InvalidConfig(f"{file}: is nested too deeply") from None
    # Not left to `Config`: pydantic-settings takes keys such as `_env_prefix` for options of its own.
    for key in told:
        if key not in Config.model_fields:
            raise InvalidConfig(f"{file}: {key}: no such setting")
    return told


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    source = EnvSettingsSource(Config, env_prefix=ENV_PREFIX, env_nested_delimiter="__")
    source.env_vars = {name.lower(): value for name, value in environ.items() if name.startswith(ENV_PREFIX)}
    return source()


def _merged(file: dict[str, Any], environment: dict[str, Any]) -> dict[str, Any]:
    """The file's tables with the environment's values over them; arrays are replaced whole."""
    merged = dict(file)
    for key, value in environment.items():
        below = merged.get(key, {})
        if not isinstance(value, dict):
            merged[key] = value
        elif isinstance(below, dict):
            merged[key] = {**below, **value}
    return merged


def _with_ledger(merged: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The same with the ledger's default path in this environment where no path is set."""
    table = merged.get("ledger", {})
    if not isinstance(table, dict) or "path" in table:
        return merged
    return {**merged, "ledger": {**table, "path": default_path(environ)}}


def _variables() -> dict[str, Any]:
    """The variable of every setting, and the setting's type."""
    found: dict[str, Any] = {}
    for name, field in Config.model_fields.items():
        if _is_section(field.annotation):
            keys = field.annotation.model_fields.items()
            found |= {f"{ENV_PREFIX}{name}__{key}".upper(): each.annotation for key, each in keys}
        else:
            found[f"{ENV_PREFIX}{name}".upper()] = field.annotation
    return found


def _is_section(annotation: object) -> TypeGuard[type[Section]]:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _service_links(environ: Mapping[str, str]) -> set[str]:
    """The variables that Kubernetes sets in a Pod for a Service whose name begins like our prefix.

    It sets NAME_SERVICE_HOST, NAME_SERVICE_PORT and NAME_PORT (`tcp://...`) together, and more of them for each port.
    """
    hosts = [name for name in environ if name.startswith(ENV_PREFIX) and name.endswith(_SERVICE_HOST)]
    services = [name.removesuffix(_SERVICE_HOST) for name in hosts]
    linked = [each for each in services if "://" in environ.get(f"{each}_PORT", "")]
    return {name for each in linked for name in environ if re.fullmatch(re.escape(each) + _SERVICE_LINK, name)}


def _refuse_unknown_names(environ: Mapping[str, str]) -> None:
    known = {CONFIG_FILE_VARIABLE, ADMIN_KEY_VARIABLE, *_variables(), *_service_links(environ)}
    for name in sorted(environ):
        if name.startswith(ENV_PREFIX) and name not in known:
            raise InvalidConfig(f"environment variable {name}: no such setting")


def _refuse_unreadable_arrays(environ: Mapping[str, str]) -> None:
    for name in (name for name, annotation in _variables().items() if get_origin(annotation) is tuple):
        try:
            told = json.loads(environ.get(name, "[]"))
        except (ValueError, RecursionError):
            raise InvalidConfig(f"environment variable {name}: is not valid JSON") from None
        if not isinstance(told, list):
            raise InvalidConfig(f"environment variable {name}: must be a JSON array")


def _line(error: ValidationError, file: Path | None, environ: Mapping[str, str]) -> str:
    """The first error as one line: where it stands, the key, the reason."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = [str(step) for step in first["loc"]]
    variable = (
        next(
            (
                name
                for name in (ENV_PREFIX + "__".join(path[:2]).upper(), ENV_PREFIX + path[0].upper())
                if name in environ
            ),
            None,
        )
        if path
        else None
    )
    where = f"environment variable {variable}" if variable else str(file or "the defaults")
    reason = "no such setting" if first["type"] == "extra_forbidden" else plain(first["msg"])
    return f"{where}: {'.'.join(path)}: {reason}" if path else f"{where}: {reason}"
