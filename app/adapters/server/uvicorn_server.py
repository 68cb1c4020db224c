"""The HTTP server: uvicorn on uvloop and httptools; its connections are those of `http1`.

A stop that was asked for by signal is a success: the process ends with status 0. A second signal ends the grace.
"""

import asyncio
import gc
import logging
import resource
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn

from app.adapters.server.handshake import behind_tls
from app.adapters.server.protocol import configured
from app.config import ServerSettings, TimeoutSettings

BACKLOG = 2048
COLLECTOR_THRESHOLDS = (20_000, 20, 100)
POLL_SECONDS = 0.1


class ServerStatus:
    """What the server tells of itself; nothing before it serves."""

    def __init__(self) -> None:
        self._server: uvicorn.Server | None = None

    def begins(self, server: uvicorn.Server) -> None:
        self._server = server

    @property
    def connections(self) -> int:
        """How many are open."""
        return 0 if self._server is None else len(self._server.server_state.connections)

    @property
    def draining(self) -> bool:
        """Whether it has been told to stop and only finishes what is in flight."""
        return self._server is not None and self._server.should_exit


def serve(
    application: Any,
    settings: ServerSettings,
    timeouts: TimeoutSettings,
    new_request_id: Callable[[], str],
    serving: ServerStatus,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight within the grace; SystemExit(1) if that fails.

    Forwarding headers are believed of the proxies alone that the settings name.
    """
    http = configured(new_request_id, settings.max_connections, timeouts.head, timeouts.write_idle, timeouts.linger)
    config = uvicorn.Config(
        application,
        interface="asgi3",
        host=settings.host,
        port=settings.port,
        http=http if tls is None else behind_tls(tls, http),
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
    serving.begins(server)
    try:
        server.run()
    except SystemExit as stopped:  # uvicorn's own status for a start that failed is 3
        raise SystemExit(1) from stopped


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Cutting an answer off is how a caller is told that it is incomplete; its request's own line says why."""
    return "without completing response" not in record.getMessage()


class _Server(uvicorn.Server):
    """uvicorn raises the signal again after a graceful stop, which would end the process as if it had been killed; at a
    second one it goes without closing anything.
    """

    _grace_is_over = False

    def __init__(self, config: uvicorn.Config, tls: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self._tls = tls

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._grace_is_over = self.should_exit
        self.should_exit = True

    async def _wait_tasks_to_complete(self) -> None:
        """Until all is done; TimeoutError, as at the end of the grace, when a second signal comes."""
        waiting = asyncio.ensure_future(super()._wait_tasks_to_complete())
        try:
            while not waiting.done():
                if self._grace_is_over:
                    raise TimeoutError
                await asyncio.wait((waiting,), timeout=POLL_SECONDS)
        finally:
            waiting.cancel()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        freeze_gc()

    def _log_started_message(self, listeners: Sequence[socket.SocketType]) -> None:
        """uvicorn listens without TLS, which its connections begin themselves; its line is to name the scheme."""
        self.config.ssl = self._tls
        super()._log_started_message(listeners)


def freeze_gc() -> None:
    """Keep the garbage collector off what was made at the start, which stays, and off young objects for a while: with
    its defaults it took a tenth of the time under load. Requests leave few circles, so the memory does not grow of it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


def raise_open_file_limit() -> None:
    """Each request in flight takes two connections; the soft limit of most systems is 1,024, far below the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def forbid_core_dumps() -> None:
    """No core dump of a process that holds the provider's key."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
