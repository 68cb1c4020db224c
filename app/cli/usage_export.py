"""`audio-gateway usage export`: the rows of requests as CSV or JSON lines."""

import csv
import json
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from app.cli import tables
from app.cli.exit_codes import FAILED, MISUSED
from app.cli.messages import note, stop
from app.cli.progress import ProgressBar
from app.cli.settings import ConfigFile, exit_on_config_error, ledger_of, load_settings
from app.cli.times import Since, Until, period_between
from app.services.usage import ExportedRow

ROWS_PER_UPDATE = 500  # of the progress bar


def export(
    since: Since = None,
    until: Until = None,
    format: Annotated[str, typer.Option(metavar="csv|jsonl", help="The output format.")] = "jsonl",
    verify: Annotated[bool, typer.Option("--verify", help="Check totals and states against the rows.")] = False,
    config: ConfigFile = None,
) -> None:
    """Write one row for each admitted request.

    Example: audio-gateway usage export --since 2026-11-01 --format csv --verify > november.csv
    """
    if format not in ("csv", "jsonl"):
        stop(f"{format!r} is neither csv nor jsonl", MISUSED)
    settings, period = load_settings(config), period_between(since, until)
    with exit_on_config_error(), ledger_of(settings).session() as session, session.usage.one_moment():
        kept, pruned = session.usage.count_rows(period)
        with ProgressBar("export") as bar:
            _write(_with_progress(session.usage.exported_rows(period), bar, kept), format)
        disagreements = session.usage.disagreements(period) if verify else []
    if pruned:
        note(f"audio-gateway: {pruned} rows of this period were pruned; `usage` has their totals")
    for line in disagreements:
        note(f"audio-gateway: {line}")
    if disagreements:
        raise typer.Exit(FAILED)
    if verify:
        note("audio-gateway: totals and states agree with the rows")


def _with_progress(rows: Iterator[ExportedRow], bar: ProgressBar, total: int) -> Iterator[ExportedRow]:
    """The rows, counted by the progress bar unless they go to the terminal themselves."""
    counted = not sys.stdout.isatty()
    for number, row in enumerate(rows, start=1):
        if counted and number % ROWS_PER_UPDATE == 0:
            bar(number, total)
        yield row


def _write(rows: Iterator[ExportedRow], format: str) -> None:
    writer = None
    for row in rows:
        if format == "jsonl":
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
            continue
        if writer is None:
            writer = csv.DictWriter(sys.stdout, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow({name: tables.csv_cell(value) for name, value in row.items()})
    sys.stdout.flush()
