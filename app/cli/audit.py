"""`audio-gateway audit`: who changed what."""

import json
from typing import Annotated

import typer

from app.adapters.ledger import LedgerCallers
from app.cli import tables
from app.cli.settings import ConfigFile, database_of, explained, loaded
from app.cli.tables import Format
from app.cli.times import iso, minute


def audit(
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="How many, newest first.")] = 100,
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Show who changed what, and when.

    Example: audio-gateway audit --limit 20
    """
    settings = loaded(config)
    with explained(), database_of(settings).session() as connection:
        entries = LedgerCallers(connection).audit(limit)
    rows: list[tables.Row] = [
        {
            "when": minute(entry.at_ms) if format is Format.TABLE else iso(entry.at_ms),
            "who": entry.actor,
            "what": entry.action,
            "subject": entry.subject,
            "before": entry.before if format is Format.JSON else json.dumps(entry.before or {}),
            "after": entry.after if format is Format.JSON else json.dumps(entry.after or {}),
        }
        for entry in entries
    ]
    typer.echo(tables.rendered(rows, format, spare=("before",)), nl=False)
