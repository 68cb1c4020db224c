"""The errors of a command line and of the operating system: one line on standard error, as of everything else."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from app.cli.exit_codes import MISUSED, stop
from app.validation_messages import plain_message

_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})
_STANDARD_OUTPUT = 1


class Writing(TyperGroup):
    """Commands whose errors are one line. Typer itself handles a reader of the output that leaves early."""

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        with _in_one_line():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: Any) -> Any:
        try:
            with _in_one_line():
                return super().invoke(ctx)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            if error.filename is not None:
                stop(f"{os.fsdecode(error.filename)}: {error.strerror}")
            if error.errno not in _UNWRITABLE:
                stop(error.strerror or str(error))
            # What is still unwritten would otherwise fail once more when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), _STANDARD_OUTPUT)
            stop(f"the output cannot be written: {error.strerror}")


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except typer.TyperException as error:
        text = error.format_message()
        if "\n" in text.strip():  # the help of a group that was given no command
            typer.echo(text, err=True)
            raise typer.Exit(MISUSED) from None
        context = getattr(error, "ctx", None)
        words = _words(text)
        if context is not None:
            words += f"{' See' if words.endswith('?') else '; see'} `{context.command_path} --help`"
        stop(words, error.exit_code)


def _words(message: str) -> str:
    """The message without a capital letter and a full stop, and what pydantic says in it in plain words."""
    what, colon, reason = message.partition(": ")
    text = f"{what}{colon}{plain_message(reason)}" if colon else message
    return f"{text[:1].lower()}{text[1:]}".removesuffix(".")
