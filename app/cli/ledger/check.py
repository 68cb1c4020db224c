"""`audio-gateway ledger check`."""

from pathlib import Path
from typing import Annotated

import typer

from app.adapters.sqlite import Database
from app.adapters.sqlite.maintenance.integrity import Finding, check_integrity
from app.cli import tables
from app.cli.exit_codes import FAILED
from app.cli.progress import Bar
from app.cli.settings import ConfigFile, database_of, explained, loaded
from app.cli.tables import Format


def check(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Another ledger, such as a backup.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not compare indexes with their tables.")] = False,
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Check the ledger, or a backup, beside a running gateway.

    Ends with status 1 if anything is wrong.

    Example: audio-gateway ledger check

    Example: audio-gateway ledger check ledger-2026-11-22.db
    """
    database = Database(file) if file else database_of(loaded(config))
    with explained(), database.snapshot() as connection, Bar("check") as bar:
        found = list(check_integrity(connection, database.served, quick, bar))
    told = [_document(each) for each in found] if format is Format.JSON else [_line(each) for each in found]
    typer.echo(tables.rendered(told, format), nl=False)
    if any(each.faults for each in found):
        raise typer.Exit(FAILED)


def _line(finding: Finding) -> tables.Row:
    return {
        "check": finding.check,
        "verdict": finding.verdict,
        "found": "; ".join((*finding.faults, *finding.remarks)),
    }


def _document(finding: Finding) -> tables.Row:
    return {
        "check": finding.check,
        "verdict": finding.verdict,
        "faults": list(finding.faults),
        "remarks": list(finding.remarks),
    }
