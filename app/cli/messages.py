"""Messages to people on standard output and standard error.

On a terminal a long line is wrapped between words. A program or a file gets it as one line.
"""

import os
import textwrap
from typing import NoReturn

import typer

from app.cli.exit_codes import FAILED

_STDOUT, _STDERR = 1, 2


def stop(message: str, status: int = FAILED) -> NoReturn:
    """Prints the message to standard error and ends the command with this exit status."""
    note(f"audio-gateway: {message}")
    raise typer.Exit(status)


def note(line: str) -> None:
    """Prints a line to standard error."""
    typer.echo(_wrap(line, _STDERR), err=True)


def say(line: str, indent: int = 0) -> None:
    """Prints a line to standard output; on a terminal, its continuation lines are indented."""
    typer.echo(_wrap(line, _STDOUT, indent))


def coloured(text: str, **style: object) -> str:
    """The text in this style if standard output is a terminal with colours and NO_COLOR is not set."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not os.isatty(_STDOUT)
    return text if plain else typer.style(text, **style)  # type: ignore[arg-type]


def _wrap(line: str, descriptor: int, indent: int = 0) -> str:
    if not os.isatty(descriptor):
        return line
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdecimal() else os.get_terminal_size(descriptor).columns
    return textwrap.fill(
        line,
        max(20, width),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
    )
