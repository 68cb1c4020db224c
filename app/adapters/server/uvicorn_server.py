"""Runs the application with uvicorn on uvloop. Each connection is a GatewayProtocol.

A stop by signal is a success: the process ends with status 0. A second signal ends the grace period.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn

from app.adapters.server.handshake import tls_protocol_class
from app.adapters.server.process import freeze_gc
from app.adapters.server.protocol import protocol_class
from app.config import ServerSettings, TimeoutSettings

BACKLOG = 2048
POLL_SECONDS = 0.1


class ServerStatus:
    """The state of the server, for metrics and readiness. Before `attach` it has no connections."""

    def __init__(self) -> None:
        self._server: uvicorn.Server | None = None

    def attach(self, server: uvicorn.Server) -> None:
        self._server = server

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return 0 if self._server is None else len(self._server.server_state.connections)

    @property
    def draining(self) -> bool:
        """Whether the server is stopping: it finishes what is in flight and accepts no new connection."""
        return self._server is not None and self._server.should_exit


def serve(
    application: Any,
    settings: ServerSettings,
    timeouts: TimeoutSettings,
    new_request_id: Callable[[], str],
    status: ServerStatus,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what is in flight within the grace period.

    Raises SystemExit(1) if the server cannot start. It trusts forwarding headers only from the proxies in the settings.
    """
    protocol = protocol_class(
        new_request_id, settings.max_connections, timeouts.head, timeouts.write_idle, timeouts.linger
    )
    config = uvicorn.Config(
        application,
        interface="asgi3",
        host=settings.host,
        port=settings.port,
        http=protocol if tls is None else tls_protocol_class(tls, protocol),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.forwarded_allow_ips),
        forwarded_allow_ips=list(settings.forwarded_allow_ips),
        timeout_keep_alive=timeouts.keep_alive,
        timeout_graceful_shutdown=max(1, round(timeouts.grace)),
        backlog=BACKLOG,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_worth_logging)
    server = _Server(config, tls)
    status.attach(server)
    try:
        server.run()
    except SystemExit as error:  # uvicorn exits with status 3 when its start fails
        raise SystemExit(1) from error


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Drops uvicorn's line about an incomplete response. The gateway cuts a stream that it cannot complete on purpose,
    and the request's own log line has the reason.
    """
    return "without completing response" not in record.getMessage()


class _Server(uvicorn.Server):
    """Handles signals in its own way. uvicorn raises the signal again after a graceful stop, so that the process ends
    as if killed; at a second signal it leaves everything open.
    """

    _stop_now = False

    def __init__(self, config: uvicorn.Config, tls: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self._tls = tls

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._stop_now = self.should_exit
        self.should_exit = True

    async def _wait_tasks_to_complete(self) -> None:
        """Waits for the requests in flight. Raises TimeoutError at a second signal, as when the grace ends."""
        waiting = asyncio.ensure_future(super()._wait_tasks_to_complete())
        try:
            while not waiting.done():
                if self._stop_now:
                    raise TimeoutError
                await asyncio.wait((waiting,), timeout=POLL_SECONDS)
        finally:
            waiting.cancel()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        freeze_gc()

    def _log_started_message(self, listeners: Sequence[socket.SocketType]) -> None:
        """Logs the address with its scheme. uvicorn listens without TLS; `handshake` adds it to each connection."""
        self.config.ssl = self._tls
        super()._log_started_message(listeners)
