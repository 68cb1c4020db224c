"""`audio-gateway serve`."""

import logging
import os
import socket
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from app import __version__
from app.adapters.server import certificate, process, reload, uvicorn_server
from app.adapters.server.certificate import ServerCertificate
from app.adapters.telemetry import LogQueue, LogWriter, select_format
from app.cli.exit_codes import MISUSED, stop
from app.cli.settings import ConfigFile, explained, loaded
from app.config import Config
from app.main import Source, create_app
from app.snapshot import new_request_id

WORKERS_VARIABLE = "WEB_CONCURRENCY"


def serve(
    workers: Annotated[
        int, typer.Option(metavar="N", help="Always 1: the memory of one process decides budgets and rates.")
    ] = 1,
    config: ConfigFile = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; SIGHUP reads the settings again.

    Example: ONEROUTER_API_KEY=... audio-gateway serve --config config.toml
    """
    _refuse_workers(workers, os.environ)
    settings = loaded(config)
    reload.ignore_sighup()
    process.forbid_core_dumps()
    process.raise_open_file_limit()
    log_queue, server_status = LogQueue(), uvicorn_server.ServerStatus()
    log_writer = LogWriter(log_queue, sys.stdout, select_format(settings.logs.format, sys.stdout))
    logging.basicConfig(level=settings.logs.number, handlers=[log_queue])
    logging.captureWarnings(True)
    with explained():
        shown = _certificate(settings)
        application = create_app(settings, Source(config, os.environ), log_queue, server_status, shown)
    _refuse_taken_address(settings)
    log_writer.start()
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
        uvicorn_server.serve(application, settings.server, settings.timeouts, new_request_id, server_status, tls)
    finally:
        log_writer.stop()


def _certificate(settings: Config) -> ServerCertificate | None:
    first = certificate.read(settings.tls)
    return None if first is None else ServerCertificate(first)


def _refuse_taken_address(settings: Config) -> None:
    """End the command in one line if the address to listen on is taken; the server itself would log three."""
    host, port = settings.server.host, settings.server.port
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
    except OSError as error:
        stop(f"cannot listen on {host}:{port}: {error.strerror}; set host or port in [server]")


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
