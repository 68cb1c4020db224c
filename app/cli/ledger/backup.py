"""`audio-gateway ledger backup`."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.progress import ProgressBar
from app.cli.settings import ConfigFile, exit_on_config_error, ledger_of, load_settings


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file; an existing one is not overwritten.")],
    config: ConfigFile = None,
) -> None:
    """Copy the ledger to a new file, beside a running gateway.

    The copy shows the ledger at one moment, and is checked.

    Example: audio-gateway ledger backup ledger-2026-11-22.db
    """
    ledger = ledger_of(load_settings(config))
    with exit_on_config_error(), ProgressBar("backup") as bar:
        size = ledger.back_up(file, bar)
    typer.echo(f"{file}: {size / 1e6:.1f} MB")
