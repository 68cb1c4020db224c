"""Rows as a table for people, or as JSON or CSV for programs.

On a terminal a table is as wide as it is: first columns that can be spared are left out, then long texts are folded
within their column, between words if they can be. Numbers, times and ids are never broken. Anywhere else a table is
as wide as it needs.
"""

import csv
import io
import json
import os
import re
from collections.abc import Sequence
from enum import StrEnum

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = dict[str, object]


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"


LONGEST_WORD = 16  # that is never broken
GAP = 2
_ENDLESS = 100_000

_NUMBER = re.compile(r"-?[\d.]*")
_WHOLE = re.compile(r"[\d.:TZ+ -]*|(?:req|key)_\w+")
_STYLES = {"ok": "green", "good": "green", "note": "yellow", "expired": "yellow", "wrong": "red", "revoked": "red"}


def rendered(rows: list[Row], format: Format, spare: Sequence[str] = ()) -> str:
    """All rows, each with the same columns, as text that ends with a line end.

    `spare` are the columns that a narrow terminal does without, the first of them first.
    """
    if format is Format.JSON:
        return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    return _csv(rows) if format is Format.CSV else _table(rows, spare)


def _csv(rows: list[Row]) -> str:
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()


def _table(rows: list[Row], spare: Sequence[str]) -> str:
    if not rows:
        return "nothing yet\n"
    screen = Console()
    columns = {name: ["" if row[name] is None else str(row[name]) for row in rows] for name in rows[0]}
    left_out = []
    if _on_terminal():
        for name in filter(columns.__contains__, spare):
            if _least_width(columns) > screen.width:
                left_out.append(name)
                del columns[name]
    text = _drawn(columns, screen)
    return f"{text}left out for want of room: {', '.join(left_out)}\n" if left_out else text


def _drawn(columns: dict[str, list[str]], screen: Console) -> str:
    table = Table(box=SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    for name, values in columns.items():
        numbers = all(map(_NUMBER.fullmatch, values))
        table.add_column(name, justify="right" if numbers else "left", no_wrap=_whole(values), overflow="fold")
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*(Text(cell, _STYLES.get(cell, "")) for cell in cells))
    coloured = screen.is_terminal and screen.color_system is not None and not screen.no_color
    width = max(screen.width, _least_width(columns)) if _on_terminal() else _ENDLESS
    out = io.StringIO()
    Console(
        file=out, width=width, force_terminal=coloured, color_system="standard" if coloured else None, highlight=False
    ).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines() if line.strip()) + "\n"


def _on_terminal() -> bool:
    return os.isatty(1)  # of what is closed as well, where sys.stdout is None


def _whole(values: list[str]) -> bool:
    return all(map(_WHOLE.fullmatch, values))


def _least_width(columns: dict[str, list[str]]) -> int:
    """What the columns take with every text folded as far as it may be."""
    widths = []
    for name, values in columns.items():
        words = [word for value in values for word in value.split()]
        widest = max(map(cell_len, values)) if _whole(values) else min(LONGEST_WORD, max(map(cell_len, words)))
        widths.append(max(cell_len(name), widest))
    return sum(widths) + GAP * (len(widths) - 1)
