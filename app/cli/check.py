"""`audio-gateway check`: checks settings, keys and ledger."""

import os

import typer

from app.adapters.upstream import HttpUpstreamClient
from app.cli.settings import ConfigFile, exit_on_config_error, ledger_of, load_checked_settings
from app.config import Config
from app.services.configured_callers import refuse_duplicate_names
from app.services.ports import SchemaState


def check(config: ConfigFile = None) -> None:
    """Check settings, keys and ledger without starting.

    Reports the errors that would stop `serve`, except an address that is in use.

    Example: audio-gateway check --config config.toml
    """
    with exit_on_config_error():
        settings = load_checked_settings(config)
        HttpUpstreamClient(settings.upstream, settings.upstream.api_key(os.environ), settings.timeouts)
        ledger = _ledger(settings)
    scheme = "https" if settings.tls.certificate_file else "http"
    typer.echo(f"settings   {config or 'the defaults'}: good")
    typer.echo(f"listen     {scheme}://{settings.server.host}:{settings.server.port}")
    typer.echo(f"upstream   {settings.upstream.name}: {settings.upstream.base_url}, with a key")
    for number, model in enumerate(settings.models):
        typer.echo(f"{'models' if number == 0 else '':10} {model.id}: {', '.join(model.tasks)}")
    typer.echo(f"callers    {len(settings.callers)} in the settings; `audio-gateway keys list` shows all")
    typer.echo(f"ledger     {settings.ledger.path.absolute()}: {ledger}")


def _ledger(settings: Config) -> str:
    """The state of the ledger; LedgerUnusable or InvalidConfig if it would stop `serve`."""
    ledger = ledger_of(settings)
    state = ledger.check_writable()
    if state is SchemaState.MISSING:
        return "is created at the first start"
    if state is SchemaState.CURRENT:
        refuse_duplicate_names(settings, ledger)
        return "writable"
    return "has an older schema, which the next start migrates"
