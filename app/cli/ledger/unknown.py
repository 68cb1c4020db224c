"""`audio-gateway ledger unknown`."""

from typing import Annotated

import typer

from app.cli import tables
from app.cli.settings import ConfigFile, actor, exit_on_config_error, ledger_of, load_settings
from app.cli.tables import Format
from app.cli.times import minute_text
from app.services.documents import unknown_document
from app.services.reconciliation import Reconciliation, UnknownRequest
from app.units import seconds_of, usd_text

SPARE = ("upstream id", "seconds", "model", "error")  # columns that a narrow terminal omits


def unknown(
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.TABLE, config: ConfigFile = None
) -> None:
    """List the requests that the provider may have billed.

    They are charged at their hold until they are resolved.

    Example: audio-gateway ledger unknown
    """
    settings = load_settings(config)
    with exit_on_config_error(), ledger_of(settings).session() as session:
        requests = Reconciliation.from_config(settings, session.unknown_requests, actor()).unknown()
    if format is not Format.TABLE:
        typer.echo(tables.render([unknown_document(request) for request in requests], format), nl=False)
        return
    typer.echo(
        tables.render([_line(request) for request in requests], format, SPARE, empty="no unknown requests"), nl=False
    )


def _line(request: UnknownRequest) -> tables.Row:
    return {
        "id": request.id,
        "caller": request.caller,
        "model": request.model,
        "admitted": minute_text(request.admitted_ms),
        "error": request.error or "",
        "held USD": usd_text(request.charge.cost),
        "seconds": seconds_of(request.charge.audio),
        "upstream id": request.upstream_request_id or "",
    }
