"""Callers in the settings, and the default limits of all callers."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from app.config import secret
from app.config.section import InvalidConfig, Section
from app.policy.caller_policy import NAME, CallerPolicy
from app.policy.task import Task
from app.wire import apikey


class LimitSettings(Section):
    """The limits of callers whose own policy sets none. None is unlimited."""

    rpm: int | None = Field(None, ge=1, le=1_000_000)
    burst: int | None = Field(None, ge=1, le=1_000_000)
    concurrency: int | None = Field(None, ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _valid_policy(self) -> Self:
        CallerPolicy.read(self.model_dump(exclude_none=True))
        return self

    @property
    def policy(self) -> CallerPolicy:
        return CallerPolicy.read(self.model_dump(exclude_none=True))


class CallerSettings(Section):
    """A caller in the settings. Its policy has the same parts as that of a caller in the ledger."""

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
    def _valid_policy(self) -> Self:
        CallerPolicy.read(self._policy_document())
        return self

    @property
    def policy(self) -> CallerPolicy:
        return CallerPolicy.read(self._policy_document())

    def _policy_document(self) -> dict[str, Any]:
        return self.model_dump(exclude={"name", "key_sha256", "key_env"}, exclude_none=True)

    def sha256(self, environ: Mapping[str, str]) -> str:
        """The SHA-256 of the caller's key; InvalidConfig if its variable is empty or holds a weak key."""
        if self.key_sha256 is not None:
            return self.key_sha256
        key = environ.get(self.key_env or "", "").strip()
        if not key:
            raise InvalidConfig(f"callers.{self.name}: the environment variable {self.key_env} holds no key")
        where = f"callers.{self.name}: the environment variable {self.key_env}"
        return apikey.digest(secret.chosen_key(key, where).get_secret_value())
