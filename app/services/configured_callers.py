"""The callers that the configuration names: their keys, and the check that the ledger does not name them too."""

from collections.abc import Mapping

from app.config import Config, InvalidConfig
from app.gateway.caller import Key
from app.services.ports import LedgerStore


def configured_keys(config: Config, environ: Mapping[str, str]) -> tuple[Key, ...]:
    """Returns the keys of the configured callers. Raises InvalidConfig if two callers have the same key."""
    keys: dict[str, Key] = {}
    for caller in config.callers:
        sha256 = caller.sha256(environ)
        if sha256 in keys:
            raise InvalidConfig(f"callers.{caller.name}: has the same key as callers.{keys[sha256].caller}")
        keys[sha256] = Key(f"config_{sha256[:8]}", caller.name, sha256, caller.policy)
    return tuple(keys.values())


def refuse_duplicate_names(config: Config, ledger: LedgerStore) -> None:
    """Raises InvalidConfig if the configuration and the ledger name the same caller."""
    configured = {caller.name for caller in config.callers}
    with ledger.session() as session:
        duplicates = configured & {record.name for record in session.callers.all()}
    if duplicates:
        raise InvalidConfig(
            f"callers.{min(duplicates)}: a caller of this name is in the ledger too; rename one of them"
        )
