"""Administration of callers and their keys, for commands and for the admin API.

Every change writes an audit entry in the same transaction: actor, time, action, and the values before and after. An
entry never contains a key.
"""

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from app.clock import now_ms
from app.config import Config
from app.gateway.caller import Key
from app.policy.caller_policy import NAME, CallerPolicy
from app.services.callers import AuditEntry, CallerRecord, CallerRepository, Document, KeyRecord, Origin
from app.services.usage import BudgetStatus
from app.units import iso_time
from app.wire import apikey, identifier


class AdministrationFault(Enum):
    """Why a change is not possible: the request is invalid, its subject is missing, or it conflicts with the state."""

    INVALID = 400
    MISSING = 404
    CONFLICT = 409


class AdministrationError(Exception):
    """The change was not made. The message can be shown to the operator."""

    def __init__(self, fault: AdministrationFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Rotation:
    """The secret of a new key, when the key expires, and the older keys that still work, each with its expiry."""

    secret: str
    expires_ms: int | None
    ending: tuple[KeyRecord, ...]


class Administration:
    """Changes callers and keys on behalf of an actor. The `configured` callers of the settings are read-only here."""

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
        """Returns all callers, by name."""
        return sorted([*self._repository.all(), *self._configured.values()], key=lambda record: record.name)

    def caller(self, name: str) -> CallerRecord:
        """Returns one caller. Raises AdministrationError if it does not exist."""
        record = self._configured.get(name) or self._repository.get(name)
        if record is None:
            raise AdministrationError(AdministrationFault.MISSING, f"there is no caller named {name}")
        return record

    def budget_statuses(self, record: CallerRecord) -> list[BudgetStatus]:
        """Returns the current status of each budget of a caller."""
        return self._repository.budget_statuses(record.name, record.policy.budgets)

    def create(self, name: str, document: Document, expires_ms: int | None = None) -> str:
        """Creates a caller with this policy, and returns the secret of its first key. The secret is not stored."""
        policy, now = check_new_caller(name, document, self._models), now_ms()
        secret, key = _new_key(name, policy, expires_ms, now)
        entry = self._entry(now, "create", name, None, {**policy.document(), "key_id": key.id})
        with self._repository.transaction():
            if name in self._configured or not self._repository.create(key, apikey.last4(secret), entry):
                raise AdministrationError(AdministrationFault.CONFLICT, f"there is a caller named {name} already")
        return secret

    def update(self, name: str, changes: Document) -> CallerRecord:
        """Changes parts of a caller's policy, and returns the caller. A part that is None is removed."""
        with self._repository.transaction():
            before = self._changeable(name).policy
            merged = {part: value for part, value in {**before.document(), **changes}.items() if value is not None}
            # A model that left the catalogue may stay in the policy: unchanged parts are not checked again.
            policy = _checked_policy(merged, self._models | (before.models or frozenset()))
            if policy == before:
                return self.caller(name)
            entry = self._entry(now_ms(), "update", name, before.document(), policy.document())
            self._repository.change_policy(name, policy, entry)
            return self.caller(name)

    def rotate(self, name: str, overlap_ms: int, expires_ms: int | None = None, *, revive: bool = False) -> Rotation:
        """Creates a new key for a caller. Its other keys expire when the overlap ends.

        Without `expires_ms` the new key has the lifetime of the newest key. A caller whose keys are all revoked gets
        a key only with `revive`, so that a rotation of all callers does not admit a blocked one again.
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
            secret, new_key = _new_key(name, record.policy, expires_ms, now)
            good = [key for key in record.keys if key.state(now) == "good"]
            ending = tuple(replace(old, expires_ms=min(old.expires_ms or ends_ms, ends_ms)) for old in good)
            after = {"key_id": new_key.id, "old_keys_expire_at": iso_time(ends_ms)}
            entry = self._entry(now, "rotate", name, {"good_keys": [old.id for old in good]}, after)
            self._repository.add_key(new_key, apikey.last4(secret), ends_ms, entry)
        return Rotation(secret, expires_ms, ending)

    def revoke(self, name_or_key: str) -> tuple[str, ...]:
        """Revokes all keys of a caller, or the key with this id. Returns the ids of the keys that it revoked."""
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
    """Returns the policy of a new caller. Raises AdministrationError if the name or the policy is invalid."""
    if not NAME.fullmatch(name):
        raise AdministrationError(
            AdministrationFault.INVALID,
            "a caller's name has letters, digits, '.', '_' and '-', 64 at the most, and no space",
        )
    return _checked_policy(document, models)


def _checked_policy(document: Document, models: frozenset[str]) -> CallerPolicy:
    try:
        policy = CallerPolicy.read(document)
    except ValueError as error:
        raise AdministrationError(AdministrationFault.INVALID, str(error)) from error
    for model in sorted((policy.models or frozenset()) - models):
        known = ", ".join(sorted(models))
        raise AdministrationError(AdministrationFault.INVALID, f"models: {model!r} is not in the catalogue: {known}")
    return policy


def _same_lifetime(keys: tuple[KeyRecord, ...], now_ms: int) -> int | None:
    """Returns the expiry of a new key with the lifetime of the newest of these, which no rotation has shortened."""
    lifetimes = [
        (key.created_ms, math.inf if key.expires_ms is None else key.expires_ms - key.created_ms) for key in keys
    ]
    _, lifetime = max(lifetimes, default=(0, math.inf))
    return None if math.isinf(lifetime) else now_ms + int(lifetime)


def _new_key(caller: str, policy: CallerPolicy, expires_ms: int | None, now_ms: int) -> tuple[str, Key]:
    secret = apikey.mint(secrets.token_bytes(apikey.RANDOM_BYTES))
    key_id = identifier.time_ordered("key_", now_ms, secrets.token_bytes(identifier.RANDOM_BYTES))
    return secret, Key(key_id, caller, apikey.digest(secret), policy, expires_ms)
