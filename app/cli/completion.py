"""Values for shell completion."""

import typer

from app import config
from app.cli.settings import ledger_of
from app.config import InvalidConfig
from app.services.ports import LedgerUnusable


def caller_names(context: typer.Context, incomplete: str) -> list[str]:
    """The ledger's callers whose names start with `incomplete`; none if the ledger cannot be read.

    A shell does not show errors of a completion.
    """
    try:
        settings = config.load(context.params.get("config"))
        with ledger_of(settings).snapshot() as session:
            names = [record.name for record in session.callers.all()]
    except (InvalidConfig, LedgerUnusable):
        return []
    return [name for name in names if name.startswith(incomplete)]
