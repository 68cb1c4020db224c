"""Rows as a table for people, or as JSON or CSV for programs.

On a terminal a table is never wider than the screen, and no word is broken over lines: first the columns that can be
spared are left out, then texts are folded between words. What still does not fit becomes a block of lines for each row.
Anywhere else a table is as wide as it needs.
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
_ENDLESS = 100_000

_NUMBER = re.compile(r"-?[\d.,]*")
_WHOLE = re.compile(r"[\d.:TZ+ -]*|(?:req|key)_\w+")  # numbers, times and ids are not folded at their blanks
_STYLES = {"ok": "green", "good": "green", "note": "yellow", "expired": "yellow", "wrong": "red", "revoked": "red"}


def rendered(
    rows: Sequence[Row],
    format: Format,
    spare: Sequence[str] = (),
    *,
    total: Row | None = None,
    empty: str = "nothing yet",
) -> str:
    """All rows, each with the same columns, as text that ends with a line end.

    `spare` are the columns that a narrow terminal does without, the first of them first. A table ends with the row
    `total`, and says `empty` where there are no rows.
    """
    if format is Format.JSON:
        return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    return _csv(rows) if format is Format.CSV else _table(rows, spare, total, empty)


def cell(value: object) -> object:
    """A value in CSV: what has parts as JSON, truths as JSON has them, nothing as nothing."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | tuple | bool) else value


def _csv(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _table(rows: Sequence[Row], spare: Sequence[str], total: Row | None, empty: str) -> str:
    if not rows:
        return f"{empty}\n"
    screen = Console()
    shown = [*rows, total] if total is not None else rows
    columns = {name: ["" if row.get(name) is None else str(row[name]) for row in shown] for name in rows[0]}
    columns = {name: values for name, values in columns.items() if any(values) or name not in spare}
    left_out, every = [], columns
    if _on_terminal():
        for name in filter(every.__contains__, spare):
            if _least_width(columns) > screen.width:
                left_out.append(name)
                columns = {kept: values for kept, values in columns.items() if kept != name}
        if _least_width(columns) > screen.width:
            return _blocks(every, screen.width)
    text = _drawn(columns, screen, with_total=total is not None)
    return f"{text}not shown for lack of room: {', '.join(left_out)}\n" if left_out else text


def _drawn(columns: Columns, screen: Console, *, with_total: bool) -> str:
    table = Table(box=SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    for name, values in columns.items():
        numbers = _numbers(values)
        # Between words alone: a column is at least as wide as its longest word.
        table.add_column(
            name, justify="right" if numbers else "left", no_wrap=_whole(values), min_width=_least(name, values)
        )
    for row in zip(*columns.values(), strict=True):
        table.add_row(*(Text(each, _STYLES.get(each, "")) for each in row))
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
        lines.insert(-1, lines[1])  # the rule below the head once more
    return "\n".join(lines) + "\n"


def _blocks(columns: Columns, width: int) -> str:
    """Each row as lines of `name  value`, for what has no room as a table."""
    names = max(map(cell_len, columns))
    room = max(1, width - names - GAP)
    blocks = []
    for row in zip(*columns.values(), strict=True):
        lines = []
        for name, value in zip(columns, row, strict=True):
            first, *rest = folded(value, room)
            lines.append(f"{name:<{names}}{' ' * GAP}{first}".rstrip())
            lines += [f"{'':<{names}}{' ' * GAP}{more}" for more in rest]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def folded(text: str, room: int) -> list[str]:
    """The text in lines of this width, broken between words; a word that is longer has a line of its own."""
    lines = [""]
    for word in text.split():
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(word) > room:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def screen_width() -> int:
    """How wide a text may be: as the terminal, or without an end."""
    return Console().width if _on_terminal() else _ENDLESS


def _on_terminal() -> bool:
    return os.isatty(1)  # of what is closed as well, where sys.stdout is None


def _numbers(values: list[str]) -> bool:
    return all(map(_NUMBER.fullmatch, values))


def _whole(values: list[str]) -> bool:
    return all(map(_WHOLE.fullmatch, values))


def _least(name: str, values: list[str]) -> int:
    """What a column takes when every text is folded as far as it may be."""
    words = [name, *values] if _whole(values) else [name, *(word for value in values for word in value.split())]
    return max(map(cell_len, words))


def _least_width(columns: Columns) -> int:
    return sum(_least(name, values) for name, values in columns.items()) + GAP * (len(columns) - 1)
