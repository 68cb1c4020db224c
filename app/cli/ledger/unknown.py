"""`audio-gateway ledger unknown`."""

from collections.abc import Callable
from typing import Annotated

import typer

from app.adapters.ledger.resolving import UnknownRow, unknown_rows
from app.cli import tables
from app.cli.settings import ConfigFile, database_of, explained, loaded
from app.cli.tables import Format
from app.cli.times import iso, minute
from app.units import seconds_of, usd_text

SPARE = ("upstream_request_id", "held_seconds", "model", "error")  # columns that a narrow terminal does without


def unknown(
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.TABLE, config: ConfigFile = None
) -> None:
    """List the requests that the provider may have billed.

    They are charged at their hold until they are resolved.

    Example: audio-gateway ledger unknown
    """
    settings = loaded(config)
    with explained(), database_of(settings).session() as connection:
        rows = [_shown(row, minute if format is Format.TABLE else iso) for row in unknown_rows(connection)]
    typer.echo(tables.rendered(rows, format, SPARE), nl=False)


def _shown(row: UnknownRow, moment: Callable[[int], str | None]) -> tables.Row:
    return {
        "id": row.id,
        "caller": row.caller,
        "model": row.model,
        "admitted": moment(row.admitted_ms),
        "error": row.error or "",
        "held_usd": usd_text(row.charge.cost),
        "held_seconds": seconds_of(row.charge.audio),
        "upstream_request_id": row.upstream_request_id or "",
    }
