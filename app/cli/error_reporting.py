"""Prints the errors of the command line and of the operating system as one line on standard error."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from app.cli.exit_codes import MISUSED
from app.cli.messages import stop
from app.validation_messages import plain_message

_WRITE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})
_STDOUT = 1


class ErrorReportingGroup(TyperGroup):
    """A command group whose errors are one line. Typer itself handles a closed pipe (EPIPE)."""

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        with _usage_errors_in_one_line():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: Any) -> Any:
        try:
            with _usage_errors_in_one_line():
                return super().invoke(ctx)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            if error.filename is not None:
                stop(f"{os.fsdecode(error.filename)}: {error.strerror}")
            if error.errno not in _WRITE_ERRORS:
                stop(error.strerror or str(error))
            # Python writes buffered output again when it exits, and would report the same error once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
            stop(f"the output cannot be written: {error.strerror}")


@contextmanager
def _usage_errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except typer.TyperException as error:
        text = error.format_message()
        if "\n" in text.strip():  # the help of a group that was called without a command
            typer.echo(text, err=True)
            raise typer.Exit(MISUSED) from None
        context = getattr(error, "ctx", None)
        line = _one_line(text)
        if context is not None:
            line += f"{' See' if line.endswith('?') else '; see'} `{context.command_path} --help`"
        stop(line, error.exit_code)


def _one_line(message: str) -> str:
    """The message in the style of the gateway: no capital letter, no full stop, pydantic's reason reworded."""
    subject, colon, reason = message.partition(": ")
    text = f"{subject}{colon}{plain_message(reason)}" if colon else message
    return f"{text[:1].lower()}{text[1:]}".removesuffix(".")
