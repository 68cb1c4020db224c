"""`audio-gateway ledger`: the ledger's file and its unknown requests, one module for each command."""

import typer

from app.cli.ledger.backup import backup
from app.cli.ledger.check import check
from app.cli.ledger.prune import prune
from app.cli.ledger.resolve import resolve_row
from app.cli.ledger.unknown import unknown

app = typer.Typer(
    help="Copy, check and prune the ledger; resolve unknown requests.\n\nExample: audio-gateway ledger check",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("backup")(backup)
app.command("check")(check)
app.command("prune")(prune)
app.command("unknown")(unknown)
app.command("resolve")(resolve_row)
