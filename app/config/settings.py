"""The value that all settings become: one table each for the gateway's own settings, arrays for the rest."""

from typing import Any

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.config.callers import CallerSettings, LimitSettings
from app.config.catalogue import DEFAULT_MODELS, Model
from app.config.sections import (
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


class Config(BaseSettings):
    """All settings of one gateway. `app.config.load` builds it; `Config()` has the defaults alone."""

    # Names in the file are case-sensitive.
    model_config = SettingsConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, case_sensitive=True)

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
        """Keep `Config()` from reading the environment of the process: only `load` names sources."""
        return (init_settings,)

    @field_validator("models", "callers")
    @classmethod
    def _unique(cls, items: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [getattr(item, "id", None) or item.name for item in items]
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise ValueError(f"{', '.join(sorted(repeated))} is named twice")
        return items

    @field_validator("callers")
    @classmethod
    def _known_models(cls, callers: tuple[CallerSettings, ...], info: ValidationInfo) -> tuple[CallerSettings, ...]:
        known = {model.id for model in info.data.get("models", ())}
        for caller in callers:
            for model in sorted(set(caller.models or ()) - known):
                raise ValueError(f"{caller.name}.models: {model!r} is not in the catalogue")
        return callers

    @property
    def upstream(self) -> Upstream:
        return self.upstreams[0]
