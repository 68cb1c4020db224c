"""What all commands have in common: `--config`, what it names, and who runs them."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from app import config
from app.adapters.server import certificate
from app.adapters.sqlite import Database, SqliteLedgerStore
from app.cli.exit_codes import FAILED, MISUSED, note, stop
from app.config import Config, InvalidConfig
from app.services.administration import AdministrationError, AdministrationFault
from app.services.configured_callers import configured_keys
from app.services.ports import LedgerStore, LedgerUnusable

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", envvar=config.CONFIG_FILE_VARIABLE, help="The TOML file with the settings.", metavar="FILE"
    ),
]


@contextmanager
def explained() -> Iterator[None]:
    """Turn settings and ledgers that cannot be used into one line on standard error."""
    try:
        yield
    except InvalidConfig as error:
        stop(str(error), MISUSED)
    except LedgerUnusable as error:
        stop(str(error), FAILED)


@contextmanager
def possible() -> Iterator[None]:
    """Turn a change that cannot be made into one line on standard error."""
    try:
        yield
    except AdministrationError as error:
        stop(str(error), MISUSED if error.fault is AdministrationFault.INVALID else FAILED)


def loaded(file: Path | None) -> Config:
    with explained():
        return config.load(file)


def usable(file: Path | None) -> Config:
    """The settings, with all the files and variables that they name but the provider's key; InvalidConfig."""
    settings = config.load(file)
    configured_keys(settings, os.environ)
    settings.admin.key(os.environ)
    if settings.alerts.webhook_url is not None:
        settings.alerts.signing_secret(os.environ)
    certificate.read(settings.tls)
    return settings


def ledger_of(settings: Config) -> LedgerStore:
    """Returns the ledger that the settings name; nothing is opened yet."""
    return SqliteLedgerStore(Database(settings.ledger.path, settings.ledger.synchronous))


def ledger_in(file: Path) -> LedgerStore:
    """Returns the ledger in this file, such as a backup."""
    return SqliteLedgerStore(Database(file))


def name_ledger(settings: Config) -> None:
    """Say on standard error which ledger a command has changed: it may not be the one that the gateway serves from."""
    note(f"ledger: {settings.ledger.path.absolute()}")


def actor() -> str:
    """Who runs this command, for the audit."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"
