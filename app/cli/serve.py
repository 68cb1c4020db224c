"""`audio-gateway serve`, `audio-gateway reload` and `audio-gateway check`."""

import logging
import os
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from app import __version__
from app.adapters import certificate, reloading, server
from app.adapters.certificate import ServerCertificate
from app.adapters.telemetry import LineWriter, LogLines, chosen
from app.cli.settings import MISUSED, ConfigFile, database_of, explained, loaded, stop, usable
from app.config import Config, InvalidConfig
from app.generation import new_request_id
from app.main import Source, create_app

WORKERS_VARIABLE = "WEB_CONCURRENCY"

RELOAD_SECONDS = 30.0


def serve(
    workers: Annotated[int, typer.Option(help="One: budgets and rates are decided in the memory of one process.")] = 1,
    config: ConfigFile = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; SIGHUP reads the settings again.

    Example: ONEROUTER_API_KEY=... audio-gateway serve --config config.toml
    """
    _refuse_workers(workers, os.environ)
    settings = loaded(config)
    reloading.ignore_hangups()
    server.forbid_core_dumps()
    server.allow_many_files()
    lines, serving = LineWriter(sys.stdout, chosen(settings.logs.format, sys.stdout)), server.Serving()
    logging.basicConfig(level=settings.logs.number, handlers=[LogLines(lines)])
    logging.captureWarnings(True)
    with explained():
        shown = _certificate(settings)
        application = create_app(settings, Source(config, os.environ), lines, serving, shown)
    lines.start()
    upstream = settings.upstream
    logging.getLogger("audio_gateway").info(
        "audio-gateway %s in front of %s (%s), ledger %s",
        __version__,
        upstream.name,
        upstream.base_url,
        settings.ledger.path,
    )
    tls = None if shown is None else shown.context
    try:
        server.serve(application, settings.server, settings.timeouts, new_request_id, serving, tls)
    finally:
        lines.stop()


def reload(config: ConfigFile = None) -> None:
    """Have the running gateway read its settings and key files again, and tell what came of it.

    What is wrong with them changes nothing. Requests in flight end under the settings that they began with.

    Example: audio-gateway reload --config config.toml
    """
    database = database_of(loaded(config))
    with explained():
        outcome = reloading.reload_gateway(database, RELOAD_SECONDS)
    if outcome is None:
        stop(f"the gateway has told nothing for {RELOAD_SECONDS:g} s; its log may")
    if outcome.error is not None:
        stop(outcome.summary, MISUSED)
    typer.echo(outcome.summary)


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


def _certificate(settings: Config) -> ServerCertificate | None:
    first = certificate.read(settings.tls)
    return None if first is None else ServerCertificate(first)


def _refuse_workers(asked: int, environ: Mapping[str, str]) -> None:
    """A second process would not know what the first one holds, and the ledger's lock would keep it out."""
    told = environ.get(WORKERS_VARIABLE, "").strip()
    for where, several in (("--workers", asked != 1), (WORKERS_VARIABLE, told not in ("", "1"))):
        if several:
            stop(
                f"{where}: the gateway is one process, which takes thousands of requests at once; "
                "it decides budgets and rates in its memory, and has the ledger's lock",
                MISUSED,
            )
