"""The callers, wherever they stand: in the settings, or in the ledger where commands and the admin API change them."""

from collections.abc import Mapping

from apsw import Connection

from app.adapters.sqlite import Database, LedgerCallers, LedgerUnknown
from app.config import Config, InvalidConfig
from app.gateway.caller import Key
from app.services.administration import Administration
from app.services.reconciliation import Reconciliation


def configured_keys(settings: Config, environ: Mapping[str, str]) -> tuple[Key, ...]:
    """The keys of the callers that stand in the settings; InvalidConfig if two of them have one and the same."""
    keys: dict[str, Key] = {}
    for caller in settings.callers:
        sha256 = caller.sha256(environ)
        if sha256 in keys:
            raise InvalidConfig(f"callers.{caller.name}: has the same key as callers.{keys[sha256].caller}")
        keys[sha256] = Key(f"config_{sha256[:8]}", caller.name, sha256, caller.policy)
    return tuple(keys.values())


def refuse_names_in_both(settings: Config, database: Database) -> None:
    """InvalidConfig if a caller stands in the settings and in the ledger; LedgerUnusable."""
    configured = {caller.name for caller in settings.callers}
    with database.session() as connection:
        both = configured & {record.name for record in LedgerCallers(connection).all()}
    if both:
        raise InvalidConfig(f"callers.{min(both)}: a caller of this name is in the ledger too; rename one of them")


def administration(settings: Config, connection: Connection, actor: str) -> Administration:
    """What can be changed about callers, by this actor."""
    models = frozenset(model.id for model in settings.models)
    configured = {each.name: each.policy for each in settings.callers}
    return Administration(LedgerCallers(connection), models, configured, actor)


def reconciliation(settings: Config, connection: Connection, actor: str) -> Reconciliation:
    """What can be done with unknown rows, by this actor."""
    return Reconciliation(LedgerUnknown(connection), {each.id: each.price for each in settings.models}, actor)
