"""How commands end: the exit statuses, and the one line that says why."""

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


def stop(message: str, status: int = FAILED) -> NoReturn:
    """End the command with this line on standard error."""
    typer.echo(f"audio-gateway: {message}", err=True)
    raise typer.Exit(status)
