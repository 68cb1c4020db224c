"""`audio-gateway ledger backup`."""

from pathlib import Path
from typing import Annotated

import typer

from app.adapters.ledger.backup import back_up
from app.cli.progress import Bar
from app.cli.settings import ConfigFile, database_of, explained, loaded


def backup(
    file: Annotated[Path, typer.Argument(help="The new file; one that is there is not overwritten.")],
    config: ConfigFile = None,
) -> None:
    """Copy the ledger to a new file, as it is at this moment, while the gateway runs.

    Example: audio-gateway ledger backup ledger-2026-11-22.db
    """
    database = database_of(loaded(config))
    with explained(), Bar("backup") as bar:
        size = back_up(database, file, bar)
    typer.echo(f"{file}: {size / 1e6:.1f} MB")
