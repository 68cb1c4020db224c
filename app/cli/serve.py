"""`audio-gateway serve`: runs the server."""

import logging
import os
import socket
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from app import __version__
from app.adapters.server import certificate as certificate_files
from app.adapters.server import process, reload, uvicorn_server
from app.adapters.server.certificate import ServerCertificate
from app.adapters.telemetry import LogQueue, LogWriter, select_format
from app.cli.exit_codes import MISUSED
from app.cli.messages import stop
from app.cli.settings import ConfigFile, exit_on_config_error, load_settings
from app.config import Config
from app.main import Source, create_app
from app.snapshot import new_request_id

WORKERS_VARIABLE = "WEB_CONCURRENCY"


def serve(
    workers: Annotated[int, typer.Option(metavar="N", help="Always 1: one process decides budgets and rates.")] = 1,
    config: ConfigFile = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; SIGHUP reloads the settings.

    Example: ONEROUTER_API_KEY=... audio-gateway serve --config config.toml
    """
    _refuse_workers(workers, os.environ)
    settings = load_settings(config)
    reload.ignore_sighup()
    process.forbid_core_dumps()
    process.raise_open_file_limit()
    log_queue, server_status = LogQueue(), uvicorn_server.ServerStatus()
    log_writer = LogWriter(log_queue, sys.stdout, select_format(settings.logs.format, sys.stdout))
    logging.basicConfig(level=settings.logs.number, handlers=[log_queue])
    logging.captureWarnings(True)
    with exit_on_config_error():
        certificate = _certificate(settings)
        application = create_app(settings, Source(config, os.environ), log_queue, server_status, certificate)
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
    tls = None if certificate is None else certificate.context
    try:
        uvicorn_server.serve(application, settings.server, settings.timeouts, new_request_id, server_status, tls)
    finally:
        log_writer.stop()


def _certificate(settings: Config) -> ServerCertificate | None:
    pair = certificate_files.read(settings.tls)
    return None if pair is None else ServerCertificate(pair)


def _refuse_taken_address(settings: Config) -> None:
    """Ends the command with one line if the address is in use; the server would log three lines."""
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


def _refuse_workers(workers: int, environ: Mapping[str, str]) -> None:
    """Ends the command if several workers are set: the ledger's lock would stop the second process."""
    variable = environ.get(WORKERS_VARIABLE, "").strip()
    for source, refused in (("--workers", workers != 1), (WORKERS_VARIABLE, variable not in ("", "1"))):
        if refused:
            stop(
                f"{source}: must be 1; one process serves thousands of requests at once, "
                "decides budgets and rates in its memory, and locks the ledger",
                MISUSED,
            )
