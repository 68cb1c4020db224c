"""`audio-gateway ledger check`."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli import tables
from app.cli.exit_codes import FAILED
from app.cli.progress import ProgressBar
from app.cli.settings import ConfigFile, exit_on_config_error, ledger_in, ledger_of, load_settings
from app.cli.tables import Format
from app.services.maintenance import IntegrityFinding


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
    ledger = ledger_in(file) if file else ledger_of(load_settings(config))
    with exit_on_config_error(), ledger.snapshot() as session, ProgressBar("check") as bar:
        findings = list(session.maintenance.check_integrity(ledger.served, quick, bar))
    to_row = _document if format is Format.JSON else _line
    typer.echo(tables.render([to_row(finding) for finding in findings], format), nl=False)
    if any(finding.faults for finding in findings):
        raise typer.Exit(FAILED)


def _line(finding: IntegrityFinding) -> tables.Row:
    return {
        "check": finding.check,
        "verdict": finding.verdict,
        "found": "; ".join((*finding.faults, *finding.remarks)),
    }


def _document(finding: IntegrityFinding) -> tables.Row:
    return {
        "check": finding.check,
        "verdict": finding.verdict,
        "faults": list(finding.faults),
        "remarks": list(finding.remarks),
    }
