"""The settings: TOML and the environment become frozen values, once. The only module that knows pydantic-settings.

Precedence: `AUDIO_GATEWAY_SECTION__KEY` in the environment, then the file, then the defaults below, which serve
OneRouter. Array tables (`[[models]]`, ...) are overridden whole, as JSON. A name or a value that is not understood
stops the start with one line that says where it stands and why.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeGuard

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from app.policy.pricing import FREE, Price
from app.policy.terms import NAME, Terms
from app.units import NanoUSD, to_nano
from app.wire import apikey

ENV_PREFIX = "AUDIO_GATEWAY_"
CONFIG_FILE_VARIABLE = "AUDIO_GATEWAY_CONFIG"
ADMIN_KEY_VARIABLE = "AUDIO_GATEWAY_ADMIN_KEY"
MIN_ADMIN_KEY_CHARACTERS = 16

Task = Literal["transcribe", "translate"]


class InvalidConfig(Exception):
    """The settings cannot be used. The message is one line: the file or variable, the key, the reason."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)


class ServerSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    max_file_bytes: int = Field(25 * 1024 * 1024, ge=1)
    max_requests: int = Field(1024, ge=1)
    max_connections: int = Field(2048, ge=1)
    spool_memory_bytes: int = Field(256 * 1024, ge=0)
    spool_total_bytes: int = Field(1024 * 1024 * 1024, ge=0)
    docs: bool = True


class TimeoutSettings(Section):
    """All in seconds."""

    body_idle: float = Field(30, gt=0)
    connect: float = Field(5, gt=0)
    write_idle: float = Field(30, gt=0)
    first_byte: float = Field(300, gt=0)
    sse_idle: float = Field(60, gt=0)
    total: float = Field(900, gt=0)
    linger: float = Field(5, ge=0)
    grace: float = Field(30, ge=0)


class LedgerSettings(Section):
    path: Path = Path("data/ledger.db")
    synchronous: Literal["full", "normal"] = "full"


class Upstream(Section):
    """The speech provider: where it is, how it wants its key and its body."""

    name: str = Field(min_length=1)
    base_url: str
    api_key_env: str | None = None
    api_key_file: Path | None = None
    auth_scheme: Literal["Bearer", "none"] = "Bearer"
    transcriptions_path: str = "/audio/transcriptions"
    translations_path: str = "/audio/translations"
    framing: Literal["chunked", "length"] = "chunked"

    @field_validator("base_url")
    @classmethod
    def _http(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^/@\s?#]+(/[^\s?#]*)?", url):
            raise ValueError("must be an http or https URL without user, query or fragment")
        return url.rstrip("/")

    @field_validator("transcriptions_path", "translations_path")
    @classmethod
    def _absolute(cls, path: str) -> str:
        if not re.fullmatch(r"/[^\s?#]*", path):
            raise ValueError("must begin with / and have no query")
        return path

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if (self.api_key_env is None) == (self.api_key_file is None):
            raise ValueError("needs exactly one of api_key_env and api_key_file")
        return self

    def url(self, task: Task) -> str:
        return self.base_url + (self.transcriptions_path if task == "transcribe" else self.translations_path)

    def api_key(self, environ: Mapping[str, str]) -> SecretStr:
        """The provider's key, from where the settings say; InvalidConfig if there is none."""
        if self.api_key_file is not None:
            return _key_in_file(self.name, self.api_key_file)
        key = environ.get(self.api_key_env or "", "").strip()
        if not key:
            raise InvalidConfig(f"upstreams.{self.name}: the environment variable {self.api_key_env} holds no key")
        return _usable_key(key, f"the environment variable {self.api_key_env}")


def _dollars(value: object) -> object:
    """A decimal number of dollars as nano-dollars."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError('must be a number of dollars, such as "0.006"')
    try:
        dollars = Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError('must be a number of dollars, such as "0.006"') from error
    if not dollars.is_finite() or not 0 <= dollars <= 1_000_000:
        raise ValueError("must be between 0 and 1000000 dollars")
    return to_nano(dollars)


Dollars = Annotated[NanoUSD, BeforeValidator(_dollars)]


class PriceTable(Section):
    """`input`, `audio_input`, `output` in USD per million tokens; `per_minute` in USD per minute of audio."""

    input: Dollars | None = None
    audio_input: Dollars | None = None
    output: Dollars | None = None
    per_minute: Dollars | None = None
    max_tokens_per_minute: int = Field(2_000, ge=1)

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if (self.input is None) != (self.output is None) or (self.audio_input is not None and self.input is None):
            raise ValueError("token prices need both input and output")
        if self.input is None and self.per_minute is None:
            raise ValueError('needs per_minute, or input and output; a model that costs nothing says price = "free"')
        if self.per_minute == 0 or (self.input is not None and not any((self.input, self.audio_input, self.output))):
            raise ValueError('a price of 0 is left out; a model that costs nothing says price = "free"')
        return self

    def price(self) -> Price:
        return Price(self.input, self.audio_input, self.output, self.per_minute, self.max_tokens_per_minute)


def _price(value: object) -> object:
    if isinstance(value, Price):
        return value
    if value == "free":
        return FREE
    if isinstance(value, dict):
        return PriceTable.model_validate(value).price()
    raise ValueError('must be a table such as { per_minute = "0.006" }, or "free"')


class Model(Section):
    """One model of the catalogue."""

    id: str = Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")
    tasks: tuple[Task, ...] = Field(min_length=1)
    price: Annotated[Price, BeforeValidator(_price)]
    upstream_model: str = Field("", max_length=128)

    @property
    def name_upstream(self) -> str:
        return self.upstream_model or self.id


class LimitSettings(Section):
    """Limits of callers whose own terms state none; None is no limit."""

    rpm: int | None = Field(None, ge=1, le=1_000_000)
    burst: int | None = Field(None, ge=1, le=1_000_000)
    concurrency: int | None = Field(None, ge=1, le=1_000_000)

    @property
    def terms(self) -> Terms:
        return Terms(rpm=self.rpm, burst=self.burst, concurrency=self.concurrency)


class AdminSettings(Section):
    """The admin API's key; without one, here or in AUDIO_GATEWAY_ADMIN_KEY, that API is off."""

    key_file: Path | None = None

    def key(self, environ: Mapping[str, str]) -> SecretStr | None:
        """The admin key, or None; InvalidConfig if what is there cannot serve as one."""
        if ADMIN_KEY_VARIABLE in environ:
            return _admin_key(environ[ADMIN_KEY_VARIABLE].strip(), f"the environment variable {ADMIN_KEY_VARIABLE}")
        if self.key_file is None:
            return None
        return _admin_key(_text_in(self.key_file, "admin.key_file"), str(self.key_file))


class AlertSettings(Section):
    """Notices of budgets: at which shares of a budget, in percent, and where to send them."""

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

    def secret(self, environ: Mapping[str, str]) -> SecretStr:
        """The secret that signs webhooks; InvalidConfig if it is not there."""
        if self.webhook_secret_file is not None:
            secret = _text_in(self.webhook_secret_file, "alerts.webhook_secret_file")
        else:
            secret = environ.get(self.webhook_secret_env or "", "").strip()
        if not secret:
            where = self.webhook_secret_file or f"the environment variable {self.webhook_secret_env}"
            raise InvalidConfig(f"alerts: {where} holds no secret")
        return SecretStr(secret)


class CallerSettings(Section):
    """A caller that stands in the settings rather than in the ledger, on the same terms."""

    name: str = Field(pattern=f"^{NAME.pattern}$")
    key_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    key_env: str | None = None
    models: tuple[str, ...] | None = None
    tasks: tuple[Task, ...] | None = None
    rpm: int | None = None
    burst: int | None = None
    concurrency: int | None = None
    budgets: tuple[str, ...] | None = None
    tags: dict[str, str] | None = None

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if (self.key_sha256 is None) == (self.key_env is None):
            raise ValueError("needs exactly one of key_sha256 and key_env")
        return self

    @model_validator(mode="after")
    def _good_terms(self) -> Self:
        Terms.read(self._document())
        return self

    @property
    def terms(self) -> Terms:
        return Terms.read(self._document())

    def _document(self) -> dict[str, Any]:
        return self.model_dump(exclude={"name", "key_sha256", "key_env"}, exclude_none=True)


def _model(model_id: str, price: dict[str, Any], *tasks: Task) -> Model:
    return Model.model_validate({"id": model_id, "tasks": tasks or ("transcribe",), "price": price})


_LARGE = {"input": "2.50", "output": "10.00", "per_minute": "0.006"}
_SMALL = {"input": "1.25", "output": "5.00", "per_minute": "0.003"}

DEFAULT_MODELS = (
    _model("whisper-1", {"per_minute": "0.006"}, "transcribe", "translate"),
    _model("gpt-transcribe", {"per_minute": "0.0045"}),
    _model("gpt-4o-transcribe", _LARGE),
    _model("gpt-4o-transcribe-diarize", _LARGE),
    _model("gpt-4o-mini-transcribe", _SMALL),
    _model("gpt-4o-mini-transcribe-2025-12-15", _SMALL),
)

DEFAULT_UPSTREAM = Upstream(
    name="onerouter", base_url="https://audio.onerouter.pro/v1", api_key_env="ONEROUTER_API_KEY"
)


class Config(BaseSettings):
    """All settings of one gateway."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    server: ServerSettings = ServerSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    ledger: LedgerSettings = LedgerSettings()
    upstreams: tuple[Upstream, ...] = Field((DEFAULT_UPSTREAM,), min_length=1, max_length=1)
    models: tuple[Model, ...] = Field(DEFAULT_MODELS, min_length=1)
    callers: tuple[CallerSettings, ...] = ()
    limits: LimitSettings = LimitSettings()
    admin: AdminSettings = AdminSettings()
    alerts: AlertSettings = AlertSettings()

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
        return Config(**_merged(told, _from_environment(environ)))
    except ValidationError as error:
        raise InvalidConfig(_line(error, file, environ)) from None


def caller_key_sha256(caller: CallerSettings, environ: Mapping[str, str]) -> str:
    """The SHA-256 of a configured caller's key; InvalidConfig if its variable is empty."""
    if caller.key_sha256 is not None:
        return caller.key_sha256
    key = environ.get(caller.key_env or "", "").strip()
    if not key:
        raise InvalidConfig(f"callers.{caller.name}: the environment variable {caller.key_env} holds no key")
    return apikey.digest(key)


def _read(file: Path) -> dict[str, Any]:
    try:
        told = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise InvalidConfig(f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{file}: {error}") from None
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


def _setting_names() -> set[str]:
    names = {CONFIG_FILE_VARIABLE, ADMIN_KEY_VARIABLE, *_array_names()}
    for name, field in Config.model_fields.items():
        if _is_section(field.annotation):
            names |= {f"{ENV_PREFIX}{name}__{key}".upper() for key in field.annotation.model_fields}
    return names


def _array_names() -> list[str]:
    fields = Config.model_fields.items()
    return [f"{ENV_PREFIX}{name}".upper() for name, field in fields if not _is_section(field.annotation)]


def _is_section(annotation: object) -> TypeGuard[type[Section]]:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _refuse_unknown_names(environ: Mapping[str, str]) -> None:
    known = _setting_names()
    for name in sorted(environ):
        if name.startswith(ENV_PREFIX) and name not in known:
            raise InvalidConfig(f"environment variable {name}: no such setting")


def _refuse_unreadable_arrays(environ: Mapping[str, str]) -> None:
    for name in _array_names():
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
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        reason = "no such setting"
    return f"{where}: {'.'.join(path)}: {reason}" if path else f"{where}: {reason}"


def _key_in_file(upstream: str, file: Path) -> SecretStr:
    key = _text_in(file, f"upstreams.{upstream}")
    if not key:
        raise InvalidConfig(f"upstreams.{upstream}: {file} holds no key")
    return _usable_key(key, str(file))


def _text_in(file: Path, setting: str) -> str:
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{setting}: {file} cannot be read: {error}") from None


def _admin_key(key: str, where: str) -> SecretStr:
    if len(key) < MIN_ADMIN_KEY_CHARACTERS:
        raise InvalidConfig(f"{where}: an admin key has {MIN_ADMIN_KEY_CHARACTERS} characters or more")
    return _usable_key(key, where)


def _usable_key(key: str, where: str) -> SecretStr:
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise InvalidConfig(f"{where}: the key holds characters that no HTTP header can carry")
    return SecretStr(key)
