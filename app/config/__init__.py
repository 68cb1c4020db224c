"""The settings: TOML and the environment become frozen values, once.

Precedence: `AUDIO_GATEWAY_SECTION__KEY` in the environment, then the file, then the defaults below, which serve
OneRouter. Array tables (`[[models]]`, ...) are overridden whole, as JSON. A name or a value that is not understood
stops the start with one line that says where it stands and why.

    loading      the whole, and how it is read
    sections     the gateway's own tables: server, tls, cors, timeouts, ledger, admin, alerts
    upstream     the speech provider
    catalogue    models and their prices
    callers      callers in the settings
    telemetry    metrics, traces, the log
    ledger_path  where the ledger is when no setting names a path
    secret       keys out of files and the environment
    reloading    what a running process can take in
"""

from app.config.callers import CallerSettings, LimitSettings
from app.config.catalogue import DEFAULT_MODELS, Model, PriceTable
from app.config.loading import CONFIG_FILE_VARIABLE, ENV_PREFIX, Config, load
from app.config.reloading import HELD_FROM_THE_START, changed, needing_restart
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
from app.config.telemetry import LogFormat, LogSettings, MetricsSettings, TraceSettings
from app.config.upstream import DEFAULT_UPSTREAM, Upstream

__all__ = [
    "ADMIN_KEY_VARIABLE",
    "CONFIG_FILE_VARIABLE",
    "DEFAULT_MODELS",
    "DEFAULT_UPSTREAM",
    "ENV_PREFIX",
    "HELD_FROM_THE_START",
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
