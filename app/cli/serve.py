"""`audio-gateway serve` and `audio-gateway check`."""

import logging
import os
import sys

import typer

from app import __version__
from app.adapters import server
from app.adapters.telemetry import LineWriter, LogLines, chosen
from app.cli.settings import ConfigFile, explained, loaded
from app.config import InvalidConfig
from app.main import configured_keys, create_app, new_request_id


def serve(config: ConfigFile = None) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Example: ONEROUTER_API_KEY=... audio-gateway serve --config config.toml
    """
    settings = loaded(config)
    server.forbid_core_dumps()
    server.allow_many_files()
    lines, serving = LineWriter(sys.stdout, chosen(settings.logs.format, sys.stdout)), server.Serving()
    logging.basicConfig(level=settings.logs.number, handlers=[LogLines(lines)])
    logging.captureWarnings(True)
    with explained():
        application = create_app(settings, os.environ, lines, serving)
    lines.start()
    upstream = settings.upstream
    logging.getLogger("audio_gateway").info(
        "audio-gateway %s in front of %s (%s), ledger %s",
        __version__,
        upstream.name,
        upstream.base_url,
        settings.ledger.path,
    )
    try:
        server.serve(application, settings.server, settings.timeouts, new_request_id, serving)
    finally:
        lines.stop()


def check(config: ConfigFile = None) -> None:
    """Tell whether the settings are good, without starting.

    Example: audio-gateway check --config config.toml
    """
    settings = loaded(config)
    with explained():
        configured_keys(settings, os.environ)
        settings.admin.key(os.environ)
        if settings.alerts.webhook_url is not None:
            settings.alerts.signing_secret(os.environ)
    typer.echo(f"settings   {config or 'the defaults'}: good")
    typer.echo(f"listen     {settings.server.host}:{settings.server.port}")
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
