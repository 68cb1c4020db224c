"""`audio-gateway check`."""

import os

import typer

from app.cli.settings import ConfigFile, explained, usable
from app.config import InvalidConfig


def check(config: ConfigFile = None) -> None:
    """Tell whether the settings are good, without starting.

    Example: audio-gateway check --config config.toml
    """
    with explained():
        settings = usable(config)
    typer.echo(f"settings   {config or 'the defaults'}: good")
    typer.echo(
        f"listen     {'https' if settings.tls.certificate_file else 'http'}://{settings.server.host}:{settings.server.port}"
    )
    typer.echo(f"upstream   {settings.upstream.name}: {settings.upstream.base_url}")
    typer.echo(f"models     {', '.join(model.id for model in settings.models)}")
    typer.echo(
        f"callers    {len(settings.callers)} in the settings; `audio-gateway keys list` shows those in the ledger"
    )
    typer.echo(f"ledger     {settings.ledger.path}")
    try:
        settings.upstream.api_key(os.environ)
    except InvalidConfig as error:
        typer.echo(f"key        missing: {error}; `serve` needs it")
    else:
        typer.echo("key        there")
