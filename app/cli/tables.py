"""Rows as a table for people, or as JSON or CSV for programs."""

import csv
import io
import json
from enum import StrEnum

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

Row = dict[str, object]


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def rendered(rows: list[Row], format: Format) -> str:
    """All rows, each with the same columns, as text that ends with a line end."""
    if format is Format.JSON:
        return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    return _csv(rows) if format is Format.CSV else _table(rows)


def _csv(rows: list[Row]) -> str:
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()


def _table(rows: list[Row]) -> str:
    """Numbers to the right; as wide as the terminal, or as it needs where the output is no terminal."""
    if not rows:
        return "nothing yet\n"
    console = Console()
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name, value in rows[0].items():
        table.add_column(name, justify="left" if isinstance(value, str) and not value[:1].isdigit() else "right")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    out = io.StringIO()
    Console(file=out, width=console.width if console.is_terminal else 400, no_color=True).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines() if line.strip()) + "\n"
