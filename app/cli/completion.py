"""What a shell is offered when Tab is pressed."""

import typer

from app import config
from app.adapters.sqlite import LedgerCallers, LedgerUnusable
from app.cli.settings import database_of
from app.config import InvalidConfig


def caller_names(context: typer.Context, incomplete: str) -> list[str]:
    """The ledger's callers whose names begin so; none where it cannot be read, for nobody would see why."""
    try:
        settings = config.load(context.params.get("config"))
        with database_of(settings).snapshot() as connection:
            names = [record.name for record in LedgerCallers(connection).all()]
    except (InvalidConfig, LedgerUnusable):
        return []
    return [name for name in names if name.startswith(incomplete)]
