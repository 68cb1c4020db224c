"""The tables of the settings for the gateway itself. Times are in seconds."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from app.config import secret
from app.config.ledger_path import DEFAULT, expanded
from app.config.section import InvalidConfig, Section

ADMIN_KEY_VARIABLE = "AUDIO_GATEWAY_ADMIN_KEY"


def _network(text: str) -> str:
    """The text of an IP address, or of a network such as 10.0.0.0/8; ValueError for other texts."""
    ipaddress.ip_network(text)
    return text


class ServerSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    max_file_bytes: int = Field(25 * 1024 * 1024, ge=1, le=1 << 40)
    max_requests: int = Field(1024, ge=1)
    max_connections: int = Field(2048, ge=1)
    max_bad_keys: int = Field(300, ge=1, le=1_000_000)
    max_buffer_bytes: int = Field(48 * 1024 * 1024, ge=1024 * 1024)
    spool_memory_bytes: int = Field(256 * 1024, ge=0)
    spool_total_bytes: int = Field(1024 * 1024 * 1024, ge=1024 * 1024)
    docs: bool = True
    forwarded_allow_ips: tuple[Annotated[str, AfterValidator(_network)], ...] = ()


class TlsSettings(Section):
    """The server's certificate and key, as PEM files. Without them the server uses plain HTTP."""

    certificate_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("needs both certificate_file and key_file")
        return self


class TimeoutSettings(Section):
    """All values are in seconds, except `min_upload_rate`, which is in bytes per second."""

    keep_alive: int = Field(65, ge=1)
    head: float = Field(10, gt=0)
    body_idle: float = Field(30, gt=0)
    min_upload_rate: float = Field(100, gt=0)
    connect: float = Field(5, gt=0)
    write_idle: float = Field(30, gt=0)
    first_byte: float = Field(300, gt=0)
    sse_idle: float = Field(60, gt=0)
    total: float = Field(900, gt=0)
    linger: float = Field(5, ge=0)
    grace: float = Field(30, ge=0)


# Also the origins of apps and extensions: tauri://localhost, app://name, file://, null.
_ORIGIN = r"^(\*|null|file://|[a-z][a-z0-9+.-]*://[^/\s?#@*]+)$"


class CorsSettings(Section):
    """The origins of web pages that may call the gateway from a browser. Without any, CORS is off."""

    origins: tuple[Annotated[str, StringConstraints(pattern=_ORIGIN)], ...] = ()


class LedgerSettings(Section):
    """The ledger. `LedgerPathSource` replaces the default path by the one of the environment."""

    path: Annotated[Path, AfterValidator(expanded)] = DEFAULT
    synchronous: Literal["full", "normal"] = "full"


class AdminSettings(Section):
    """The admin API's key. Without one, here or in AUDIO_GATEWAY_ADMIN_KEY, the admin API is off."""

    key_file: Path | None = None

    def key(self, environ: Mapping[str, str]) -> SecretStr | None:
        """The admin key, or None if none is set; InvalidConfig if it is not valid."""
        if ADMIN_KEY_VARIABLE in environ:
            return secret.chosen_key(
                environ[ADMIN_KEY_VARIABLE].strip(), f"the environment variable {ADMIN_KEY_VARIABLE}"
            )
        if self.key_file is None:
            return None
        return secret.chosen_key(secret.text_in(self.key_file, "admin.key_file"), str(self.key_file))


class AlertSettings(Section):
    """Budget alerts: the thresholds, in percent of a budget, and the webhook that receives them."""

    thresholds: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = (80, 95, 100)
    webhook_url: str | None = Field(None, pattern=r"^https?://[^\s@]+$")
    webhook_secret_env: str | None = None
    webhook_secret_file: Path | None = None

    @model_validator(mode="after")
    def _signed(self) -> Self:
        secrets = (self.webhook_secret_env, self.webhook_secret_file)
        if self.webhook_url is not None and sum(secret is not None for secret in secrets) != 1:
            raise ValueError("webhook_url needs exactly one of webhook_secret_env and webhook_secret_file")
        return self

    def signing_secret(self, environ: Mapping[str, str]) -> SecretStr:
        """The secret that signs webhooks; InvalidConfig if there is none."""
        if self.webhook_secret_file is not None:
            text = secret.text_in(self.webhook_secret_file, "alerts.webhook_secret_file")
        else:
            text = environ.get(self.webhook_secret_env or "", "").strip()
        where = f"alerts: {self.webhook_secret_file or f'the environment variable {self.webhook_secret_env}'}"
        if not text:
            raise InvalidConfig(f"{where} holds no secret")
        return secret.chosen_secret(text, where)
