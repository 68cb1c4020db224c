"""How commands end: the exit statuses, and the one line that says why.

On a terminal a line that is wider is folded between words; a program or a file gets it whole.
"""

import os
import textwrap
from typing import NoReturn

import typer

DONE = 0
FAILED = 1
MISUSED = 2
INTERRUPTED = 130

STATUSES = {
    DONE: "done",
    FAILED: "it could not be done, or what was checked is wrong, or the reader of the output has left",
    MISUSED: "the command line or the settings are wrong",
    INTERRUPTED: "interrupted with Ctrl-C",
}

_OUTPUT, _ERRORS = 1, 2


def stop(message: str, status: int = FAILED) -> NoReturn:
    """End the command with this line on standard error."""
    note(f"audio-gateway: {message}")
    raise typer.Exit(status)


def note(line: str) -> None:
    """A line for people on standard error."""
    typer.echo(_fitting(line, _ERRORS), err=True)


def say(line: str, indent: int = 0) -> None:
    """A line on standard output; `indent` is where its further lines begin on a terminal."""
    typer.echo(_fitting(line, _OUTPUT, indent))


def coloured(text: str, **style: object) -> str:
    """The text in this style on a terminal that shows colours, and where NO_COLOR does not ask for none."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not os.isatty(_OUTPUT)
    return text if plain else typer.style(text, **style)  # type: ignore[arg-type]


def _fitting(line: str, descriptor: int, indent: int = 0) -> str:
    if not os.isatty(descriptor):
        return line
    set_width = os.environ.get("COLUMNS", "")
    width = int(set_width) if set_width.isdecimal() else os.get_terminal_size(descriptor).columns
    return textwrap.fill(
        line,
        max(20, width),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
    )
