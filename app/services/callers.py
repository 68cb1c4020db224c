"""Callers, their keys and audit entries as values, and the port of the repository that stores them."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from app.gateway.caller import Key
from app.policy.budget import Budget
from app.policy.caller_policy import CallerPolicy
from app.services.usage import BudgetStatus

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key without its secret. Times are milliseconds since the epoch, UTC."""

    id: str
    last4: str
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None
    last_used_ms: int | None

    def state(self, now_ms: int) -> str:
        """Returns `revoked`, `expired` or `good`."""
        if self.revoked_ms is not None:
            return "revoked"
        return "expired" if self.expires_ms is not None and self.expires_ms <= now_ms else "good"


class Origin(StrEnum):
    """Where a caller is stored, and therefore where an operator can change it."""

    LEDGER = "ledger"
    SETTINGS = "settings"


@dataclass(frozen=True, slots=True)
class CallerRecord:
    """A caller with all keys that it ever had in the ledger, oldest first. A configured caller has none."""

    name: str
    policy: CallerPolicy
    created_ms: int | None = None
    keys: tuple[KeyRecord, ...] = ()
    origin: Origin = Origin.LEDGER


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change: when, by whom, what, and the values before and after."""

    at_ms: int
    actor: str
    action: str
    subject: str
    before: Document | None
    after: Document | None


class CallerRepository(Protocol):
    """Stores callers, keys and the audit log, over the connection of a session."""

    def transaction(self) -> AbstractContextManager[None]:
        """Makes the reads and writes of its block one transaction: all of it or nothing."""

    def all(self) -> list[CallerRecord]:
        """Returns every caller, by name."""

    def get(self, name: str) -> CallerRecord | None:
        """Returns one caller, None if it does not exist."""

    def budget_statuses(self, name: str, budgets: tuple[Budget, ...]) -> list[BudgetStatus]:
        """Returns the current status of each budget of a caller."""

    def create(self, key: Key, last4: str, entry: AuditEntry) -> bool:
        """Adds a caller with its first key. Returns False if the name is taken."""

    def change_policy(self, name: str, policy: CallerPolicy, entry: AuditEntry) -> None:
        """Replaces the policy of a caller."""

    def add_key(self, key: Key, last4: str, old_expire_ms: int, entry: AuditEntry) -> None:
        """Adds a key. The caller's other keys expire at `old_expire_ms`, or earlier if they already do."""

    def revoke(self, key_ids: tuple[str, ...], entry: AuditEntry) -> None:
        """Revokes these keys."""

    def audit(self, limit: int) -> list[AuditEntry]:
        """Returns the latest changes, newest first."""
