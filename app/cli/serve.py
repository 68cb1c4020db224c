"""`audio-gateway serve`."""

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
from app.cli.ending import MISUSED, stop
from app.cli.settings import ConfigFile, explained, loaded
from app.config import Config
from app.generation import new_request_id
from app.main import Source, create_app

WORKERS_VARIABLE = "WEB_CONCURRENCY"


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
