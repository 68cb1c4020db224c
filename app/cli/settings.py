"""Loads the settings and the ledger of a command, and turns their errors into exit statuses."""

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
from app.cli.exit_codes import FAILED, MISUSED
from app.cli.messages import note, stop
from app.config import Config, InvalidConfig
from app.services.administration import AdministrationError, AdministrationFault
from app.services.configured_callers import configured_keys
from app.services.ports import LedgerStore, LedgerUnusable

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", envvar=config.CONFIG_FILE_VARIABLE, help="The TOML file of the settings.", metavar="FILE"),
]


@contextmanager
def exit_on_config_error() -> Iterator[None]:
    """Ends the command with one line if the settings are not valid or the ledger cannot be used."""
    try:
        yield
    except InvalidConfig as error:
        stop(str(error), MISUSED)
    except LedgerUnusable as error:
        stop(str(error), FAILED)


@contextmanager
def exit_on_administration_error() -> Iterator[None]:
    """Ends the command with one line if an administrative change is refused."""
    try:
        yield
    except AdministrationError as error:
        stop(str(error), MISUSED if error.fault is AdministrationFault.INVALID else FAILED)


def load_settings(file: Path | None) -> Config:
    """The settings of this file (None: the defaults); ends the command if they are not valid."""
    with exit_on_config_error():
        return config.load(file)


def load_checked_settings(file: Path | None) -> Config:
    """The settings, after a check of every file and variable that they name, except the provider's key.

    InvalidConfig says which one cannot be used.
    """
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


def print_ledger_path(settings: Config) -> None:
    """Prints to standard error which ledger the command has changed, which need not be the gateway's."""
    note(f"ledger: {settings.ledger.path.absolute()}")


def actor() -> str:
    """The name for the audit: the user who runs this command."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"
