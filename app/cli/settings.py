"""What all commands have in common: `--config`, who runs them, and how they end."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from app import config
from app.adapters import certificate
from app.adapters.ledger import Database, LedgerUnusable
from app.config import Config, InvalidConfig
from app.generation import configured_keys, webhook

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", envvar=config.CONFIG_FILE_VARIABLE, help="The TOML file with the settings.", metavar="FILE"
    ),
]

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


@contextmanager
def explained() -> Iterator[None]:
    """Turn settings and ledgers that cannot be used into one line on standard error."""
    try:
        yield
    except InvalidConfig as error:
        stop(str(error), MISUSED)
    except LedgerUnusable as error:
        stop(str(error), FAILED)


def loaded(file: Path | None) -> Config:
    with explained():
        return config.load(file)


def usable(file: Path | None) -> Config:
    """The settings, with all the files and variables that they name but the provider's key; InvalidConfig."""
    settings = config.load(file)
    configured_keys(settings, os.environ)
    settings.admin.key(os.environ)
    webhook(settings, os.environ)
    certificate.read(settings.tls)
    return settings


def database_of(settings: Config) -> Database:
    return Database(settings.ledger.path, settings.ledger.synchronous)


def stop(message: str, status: int = FAILED) -> NoReturn:
    """End the command with this line on standard error."""
    typer.echo(f"audio-gateway: {message}", err=True)
    raise typer.Exit(status)


def actor() -> str:
    """Who runs this command, for the audit."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"
