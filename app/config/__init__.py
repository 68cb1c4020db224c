"""The settings: TOML and the environment become frozen values.

Precedence: `AUDIO_GATEWAY_SECTION__KEY` in the environment, then the file, then the defaults, which serve OneRouter.
A variable replaces an array (`[[models]]`, ...) as a whole, as JSON. A name or value that is not valid stops the start
with one line: the file or variable, the setting, the reason.

    settings     all settings as one value
    loading      reads the sources in their order
    environment  the source that reads environment variables
    ledger_path  the source of the ledger's default path
    sections     the gateway's own tables: server, tls, cors, timeouts, ledger, admin, alerts
    upstream     the speech provider
    catalogue    models and their prices
    callers      callers in the settings, and default limits
    telemetry    metrics, traces, the log
    section      what all tables have in common
    secret       reads keys and secrets from files and the environment
    reloading    which settings a running process can change
"""

from app.config.callers import CallerSettings, LimitSettings
from app.config.catalogue import DEFAULT_MODELS, Model, PriceTable
from app.config.environment import CONFIG_FILE_VARIABLE, ENV_PREFIX
from app.config.loading import load
from app.config.reloading import RESTART_ONLY, changed, needing_restart
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
from app.config.settings import Config
from app.config.telemetry import LogFormat, LogSettings, MetricsSettings, TraceSettings
from app.config.upstream import DEFAULT_UPSTREAM, Upstream

__all__ = [
    "ADMIN_KEY_VARIABLE",
    "CONFIG_FILE_VARIABLE",
    "DEFAULT_MODELS",
    "DEFAULT_UPSTREAM",
    "ENV_PREFIX",
    "RESTART_ONLY",
    "AdminSettings",
    "AlertSettings",
    "CallerSettings",
    "Config",
    "CorsSettings",
    "InvalidConfig",
    "LedgerSettings",
    "LimitSettings",
    "LogFormat",
    "LogSettings",
    "MetricsSettings",
    "Model",
    "PriceTable",
    "Section",
    "ServerSettings",
    "TimeoutSettings",
    "TlsSettings",
    "TraceSettings",
    "Upstream",
    "changed",
    "load",
    "needing_restart",
]
