"""Prints rows as a table for people, or as JSON or CSV for programs.

On a terminal a table is never wider than the screen, and words are never broken. To fit, the table first leaves out the
optional columns, then wraps texts between words. If that is not enough, each row becomes a block of lines.
In a file or a pipe a table is as wide as it needs to be.
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
Columns = dict[str, list[str]]


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"


GAP = 2
_UNLIMITED = 100_000

_NUMBER = re.compile(r"-?[\d.,]*")
_UNWRAPPED = re.compile(r"[\d.:TZ+ -]*|(?:req|key)_\w+")  # numbers, times and ids are not wrapped
_STYLES = {"ok": "green", "good": "green", "note": "yellow", "expired": "yellow", "wrong": "red", "revoked": "red"}


def render(
    rows: Sequence[Row],
    format: Format,
    optional: Sequence[str] = (),
    *,
    total: Row | None = None,
    empty: str = "nothing yet",
) -> str:
    """The rows, which have the same columns, as text that ends with a newline.

    A narrow terminal leaves out the `optional` columns, the first of them first. A table ends with the row `total`; a
    table without rows is the text `empty`.
    """
    if format is Format.JSON:
        return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    return _csv(rows) if format is Format.CSV else _table(rows, optional, total, empty)


def csv_cell(value: object) -> object:
    """A value for CSV: arrays, objects and booleans as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | tuple | bool) else value


def _csv(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _table(rows: Sequence[Row], optional: Sequence[str], total: Row | None, empty: str) -> str:
    if not rows:
        return f"{empty}\n"
    screen = Console()
    rows_and_total = [*rows, total] if total is not None else rows
    columns = {name: ["" if row.get(name) is None else str(row[name]) for row in rows_and_total] for name in rows[0]}
    columns = {name: values for name, values in columns.items() if any(values) or name not in optional}
    left_out, all_columns = [], columns
    if _on_terminal():
        for name in filter(all_columns.__contains__, optional):
            if _min_table_width(columns) > screen.width:
                left_out.append(name)
                columns = {kept: values for kept, values in columns.items() if kept != name}
        if _min_table_width(columns) > screen.width:
            return _blocks(all_columns, screen.width)
    text = _draw(columns, screen, with_total=total is not None)
    return f"{text}not shown for lack of room: {', '.join(left_out)}\n" if left_out else text


def _draw(columns: Columns, screen: Console, *, with_total: bool) -> str:
    table = Table(box=SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    for name, values in columns.items():
        numbers = _numbers(values)
        # Rich breaks a word that is longer than its column.
        table.add_column(
            name, justify="right" if numbers else "left", no_wrap=_unwrapped(values), min_width=_min_width(name, values)
        )
    for row in zip(*columns.values(), strict=True):
        table.add_row(*(Text(text, _STYLES.get(text, "")) for text in row))
    coloured = screen.is_terminal and screen.color_system is not None and not screen.no_color
    out = io.StringIO()
    Console(
        file=out,
        width=screen_width(),
        force_terminal=coloured,
        color_system="standard" if coloured else None,
        highlight=False,
    ).print(table)
    lines = [line.rstrip() for line in out.getvalue().splitlines() if line.strip()]
    if with_total:
        lines.insert(-1, lines[1])  # a second rule, as below the header
    return "\n".join(lines) + "\n"


def _blocks(columns: Columns, width: int) -> str:
    """Each row as lines of `name  value`, for rows that do not fit as a table."""
    names = max(map(cell_len, columns))
    room = max(1, width - names - GAP)
    blocks = []
    for row in zip(*columns.values(), strict=True):
        lines = []
        for name, value in zip(columns, row, strict=True):
            first, *rest = wrap_words(value, room)
            lines.append(f"{name:<{names}}{' ' * GAP}{first}".rstrip())
            lines += [f"{'':<{names}}{' ' * GAP}{line}" for line in rest]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def wrap_words(text: str, width: int) -> list[str]:
    """The text in lines of at most this width. A longer word has a line of its own."""
    lines = [""]
    for word in text.split():
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def screen_width() -> int:
    """The width of the terminal; practically unlimited for a file or a pipe."""
    return Console().width if _on_terminal() else _UNLIMITED


def _on_terminal() -> bool:
    return os.isatty(1)  # sys.stdout is None if standard output is closed


def _numbers(values: list[str]) -> bool:
    return all(map(_NUMBER.fullmatch, values))


def _unwrapped(values: list[str]) -> bool:
    return all(map(_UNWRAPPED.fullmatch, values))


def _min_width(name: str, values: list[str]) -> int:
    """The width of the column when its texts are wrapped at every space."""
    words = [name, *values] if _unwrapped(values) else [name, *(word for value in values for word in value.split())]
    return max(map(cell_len, words))


def _min_table_width(columns: Columns) -> int:
    return sum(_min_width(name, values) for name, values in columns.items()) + GAP * (len(columns) - 1)
