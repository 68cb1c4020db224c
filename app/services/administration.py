"""Callers and their keys as those who run the gateway manage them, from the command and over HTTP alike.

Every change is written with a row of the audit in the same transaction: who, when, what, before and after; never a key.
"""

import math
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from typing import Any, Protocol

from app.clock import now_ms
from app.config import Config
from app.gateway.caller import Key
from app.policy.budget import Budget
from app.policy.caller_policy import NAME, CallerPolicy
from app.services.usage import BudgetStatus
from app.units import iso_time
from app.wire import apikey, identifier

Document = Mapping[str, Any]


class AdministrationFault(Enum):
    """Why something cannot be done: what was asked for is wrong, is not there, or is there already."""

    INVALID = 400
    MISSING = 404
    CONFLICT = 409


class AdministrationError(Exception):
    """The change was not made. The message is fit for whoever asked for it."""

    def __init__(self, fault: AdministrationFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as it is shown; times are milliseconds since the epoch."""

    id: str
    last4: str
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None
    last_used_ms: int | None

    def state(self, now_ms: int) -> str:
        if self.revoked_ms is not None:
            return "revoked"
        return "expired" if self.expires_ms is not None and self.expires_ms <= now_ms else "good"


class Origin(StrEnum):
    """Where a caller is kept, and so where he can be changed."""

    LEDGER = "ledger"
    SETTINGS = "settings"


@dataclass(frozen=True, slots=True)
class CallerRecord:
    """A caller, with all keys he ever had in the ledger, oldest first; one in the settings has none there."""

    name: str
    policy: CallerPolicy
    created_ms: int | None = None
    keys: tuple[KeyRecord, ...] = ()
    origin: Origin = Origin.LEDGER


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One administrative change."""

    at_ms: int
    actor: str
    action: str
    subject: str
    before: Document | None
    after: Document | None


@dataclass(frozen=True, slots=True)
class Rotation:
    """The new key, shown this once, when it ends, and the keys that still work, each with its end."""

    secret: str
    expires_ms: int | None
    ending: tuple[KeyRecord, ...]


class CallerRepository(Protocol):
    """Where callers are kept. A change, what it rests on and its audit entry are one transaction."""

    def transaction(self) -> AbstractContextManager[None]: ...
    def all(self) -> list[CallerRecord]: ...
    def get(self, name: str) -> CallerRecord | None: ...
    def budget_statuses(self, name: str, budgets: tuple[Budget, ...]) -> list[BudgetStatus]: ...
    def create(self, key: Key, last4: str, entry: AuditEntry) -> bool: ...
    def change_policy(self, name: str, policy: CallerPolicy, entry: AuditEntry) -> None: ...
    def add_key(self, key: Key, last4: str, old_expire_ms: int, entry: AuditEntry) -> None: ...
    def revoke(self, key_ids: tuple[str, ...], entry: AuditEntry) -> None: ...
    def audit(self, limit: int) -> list[AuditEntry]: ...


class Administration:
    """All changes that can be made, by this actor. `configured` are the callers in the settings: shown, not changed."""

    def __init__(
        self, repository: CallerRepository, models: frozenset[str], configured: Mapping[str, CallerPolicy], actor: str
    ) -> None:
        self._repository = repository
        self._models = models
        self._configured = {
            name: CallerRecord(name, policy, origin=Origin.SETTINGS) for name, policy in configured.items()
        }
        self._actor = actor

    @classmethod
    def from_config(cls, config: Config, repository: CallerRepository, actor: str) -> "Administration":
        """Returns the administration of the callers in this repository and of those in the configuration."""
        models = frozenset(model.id for model in config.models)
        configured = {caller.name: caller.policy for caller in config.callers}
        return cls(repository, models, configured, actor)

    def callers(self) -> list[CallerRecord]:
        """All callers, by name."""
        return sorted([*self._repository.all(), *self._configured.values()], key=lambda record: record.name)

    def caller(self, name: str) -> CallerRecord:
        record = self._configured.get(name) or self._repository.get(name)
        if record is None:
            raise AdministrationError(AdministrationFault.MISSING, f"there is no caller named {name}")
        return record

    def budget_statuses(self, record: CallerRecord) -> list[BudgetStatus]:
        """How the caller's budgets stand now."""
        return self._repository.budget_statuses(record.name, record.policy.budgets)

    def create(self, name: str, document: Document, expires_ms: int | None = None) -> str:
        """A new caller on these terms; its first key, which is shown this once."""
        policy, now = check_new_caller(name, document, self._models), now_ms()
        secret, key = _new_key(name, policy, expires_ms, now)
        entry = self._entry(now, "create", name, None, {**policy.document(), "key_id": key.id})
        with self._repository.transaction():
            if name in self._configured or not self._repository.create(key, apikey.last4(secret), entry):
                raise AdministrationError(AdministrationFault.CONFLICT, f"there is a caller named {name} already")
        return secret

    def update(self, name: str, changes: Document) -> CallerRecord:
        """Change these parts of a caller's terms; a part that is None is taken out."""
        with self._repository.transaction():
            before = self._changeable(name).policy
            merged = {part: value for part, value in {**before.document(), **changes}.items() if value is not None}
            # A model that has left the catalogue meanwhile stays named: what is not changed is not checked again.
            policy = _checked(merged, self._models | (before.models or frozenset()))
            if policy == before:
                return self.caller(name)
            entry = self._entry(now_ms(), "update", name, before.document(), policy.document())
            self._repository.change_policy(name, policy, entry)
            return self.caller(name)

    def rotate(self, name: str, overlap_ms: int, expires_ms: int | None = None, *, revive: bool = False) -> Rotation:
        """A new key for a caller, whose other keys end when the overlap does.

        Unless `expires_ms` says otherwise the new key has the lifetime of the newest one. A caller whose keys are all
        revoked gets none without `revive`: rotating in a loop over all callers must not let one in again.
        """
        with self._repository.transaction():
            record, now = self._changeable(name), now_ms()
            if not revive and record.keys and all(key.revoked_ms is not None for key in record.keys):
                raise AdministrationError(
                    AdministrationFault.CONFLICT, f"all keys of {name} are revoked; a new one needs revive (--revive)"
                )
            if expires_ms is None:
                expires_ms = _same_lifetime(record.keys, now)
            ends_ms = now + overlap_ms
            secret, key = _new_key(name, record.policy, expires_ms, now)
            good = [each for each in record.keys if each.state(now) == "good"]
            ending = tuple(replace(each, expires_ms=min(each.expires_ms or ends_ms, ends_ms)) for each in good)
            after = {"key_id": key.id, "old_keys_expire_at": iso_time(ends_ms)}
            entry = self._entry(now, "rotate", name, {"good_keys": [each.id for each in good]}, after)
            self._repository.add_key(key, apikey.last4(secret), ends_ms, entry)
        return Rotation(secret, expires_ms, ending)

    def revoke(self, name_or_key: str) -> tuple[str, ...]:
        """Revoke all keys of a caller, or the one of this id; the ids of those that were not revoked before."""
        self._refuse_configured(name_or_key)
        with self._repository.transaction():
            named = [record for record in self._repository.all() if record.name == name_or_key]
            keys = [
                key
                for record in named or self._repository.all()
                for key in record.keys
                if named or key.id == name_or_key
            ]
            ids = tuple(key.id for key in keys if key.revoked_ms is None)
            if not ids:
                raise AdministrationError(
                    AdministrationFault.MISSING, f"there is no key of {name_or_key} that could be revoked"
                )
            self._repository.revoke(ids, self._entry(now_ms(), "revoke", name_or_key, {"keys": list(ids)}, None))
        return ids

    def _changeable(self, name: str) -> CallerRecord:
        self._refuse_configured(name)
        return self.caller(name)

    def _refuse_configured(self, name: str) -> None:
        if name in self._configured:
            raise AdministrationError(
                AdministrationFault.CONFLICT, f"{name} is a caller of the settings: change it there"
            )

    def _entry(
        self, now_ms: int, action: str, subject: str, before: Document | None, after: Document | None
    ) -> AuditEntry:
        return AuditEntry(now_ms, self._actor, action, subject, before, after)


def check_new_caller(name: str, document: Document, models: frozenset[str]) -> CallerPolicy:
    """The terms of a caller that is to be made, with these models in the catalogue; Impossible."""
    if not NAME.fullmatch(name):
        raise AdministrationError(
            AdministrationFault.INVALID,
            "a caller's name has letters, digits, '.', '_' and '-', 64 at the most, and no space",
        )
    return _checked(document, models)


def _checked(document: Document, models: frozenset[str]) -> CallerPolicy:
    try:
        policy = CallerPolicy.read(document)
    except ValueError as error:
        raise AdministrationError(AdministrationFault.INVALID, str(error)) from error
    for model in sorted((policy.models or frozenset()) - models):
        known = ", ".join(sorted(models))
        raise AdministrationError(AdministrationFault.INVALID, f"models: {model!r} is not in the catalogue: {known}")
    return policy


def _same_lifetime(keys: tuple[KeyRecord, ...], now_ms: int) -> int | None:
    """When a key ends that lives as long as the newest of these, whose end no rotation has moved."""
    lifetimes = [
        (key.created_ms, math.inf if key.expires_ms is None else key.expires_ms - key.created_ms) for key in keys
    ]
    _, lifetime = max(lifetimes, default=(0, math.inf))
    return None if math.isinf(lifetime) else now_ms + int(lifetime)


def _new_key(caller: str, policy: CallerPolicy, expires_ms: int | None, now_ms: int) -> tuple[str, Key]:
    secret = apikey.mint(secrets.token_bytes(apikey.RANDOM_BYTES))
    key_id = identifier.time_ordered("key_", now_ms, secrets.token_bytes(identifier.RANDOM_BYTES))
    return secret, Key(key_id, caller, apikey.digest(secret), policy, expires_ms)
