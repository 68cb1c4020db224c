"""The settings of the upstream, the speech provider."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from app.config import secret
from app.config.section import InvalidConfig, Section
from app.policy.task import Task


class Upstream(Section):
    """The speech provider: its address, its key, and the format in which it expects both key and body."""

    name: str = Field(min_length=1)
    base_url: str
    api_key_env: str | None = None
    api_key_file: Path | None = None
    auth_scheme: Literal["Bearer", "none"] = "Bearer"
    transcriptions_path: str = "/audio/transcriptions"
    translations_path: str = "/audio/translations"
    framing: Literal["chunked", "length"] = "chunked"
    ca_file: Path | None = None

    @field_validator("base_url")
    @classmethod
    def _http(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^/@\s?#]+(/[^\s?#]*)?", url):
            raise ValueError("must be an http or https URL without user, query or fragment")
        _ = urlsplit(url).port  # raises ValueError for a bad address or port
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
        """The provider's key, from the file or variable of the settings; InvalidConfig if there is none."""
        if self.api_key_file is not None:
            return secret.key_in_file(self.name, self.api_key_file)
        key = environ.get(self.api_key_env or "", "").strip()
        if not key:
            raise InvalidConfig(f"upstreams.{self.name}: the environment variable {self.api_key_env} holds no key")
        return secret.usable_key(key, f"the environment variable {self.api_key_env}")


DEFAULT_UPSTREAM = Upstream(
    name="onerouter", base_url="https://audio.onerouter.pro/v1", api_key_env="ONEROUTER_API_KEY"
)
