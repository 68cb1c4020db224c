"""A caller and its keys, as values."""

from dataclasses import dataclass, field
from typing import NamedTuple

from app.policy.caller_policy import CallerPolicy


@dataclass(frozen=True, slots=True)
class Key:
    """A caller's key as the ledger or the settings hold it, with the caller's policy. It has the key's SHA-256, never
    the key itself.
    """

    id: str
    caller: str
    sha256: str
    policy: CallerPolicy = field(default_factory=CallerPolicy)
    expires_ms: int | None = None
    revoked: bool = False


class Caller(NamedTuple):
    """An authenticated caller: its name, the key that it used, and its policy."""

    name: str
    key_id: str
    policy: CallerPolicy

    def may_use(self, model: str) -> bool:
        return self.policy.models is None or model in self.policy.models

    def may_do(self, task: str) -> bool:
        return self.policy.tasks is None or task in self.policy.tasks
