"""The HTTP server: uvicorn on uvloop and httptools, with the two things that it lacks for a gateway.

What its parser refuses is answered in OpenAI's envelope with a request id, as every other error is; and a stop that was
asked for by signal is a success, so that the process ends with status 0.
"""

import asyncio
import logging
import resource
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app import errors
from app.config import ServerSettings

KEEP_ALIVE_SECONDS = 65
BACKLOG = 2048


class GatewayProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 connection, with our errors."""

    new_request_id: Callable[[], str]
    max_connections: int

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Mark a connection above the ceiling: it is told so, and only health is answered on it."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self.app_state = {**self.app_state, "over_capacity": True}

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refused; where an answer has begun already there is only closing left."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            refusal = errors.bad_request("The bytes received are not a valid HTTP/1.1 request.")
            body = refusal.envelope()
            headers = (
                *refusal.all_headers(),
                (b"x-request-id", self.new_request_id().encode()),
                (b"content-length", b"%d" % len(body)),
                (b"connection", b"close"),
            )
            head = b"".join(b"%b: %b\r\n" % header for header in headers)
            self.transport.write(STATUS_LINE[400] + head + b"\r\n" + body)
        self.transport.close()


def serve(application: Any, settings: ServerSettings, grace: float, new_request_id: Callable[[], str]) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight within the grace; SystemExit if it cannot start."""
    parts = {"new_request_id": staticmethod(new_request_id), "max_connections": settings.max_connections}
    protocol = type("Protocol", (GatewayProtocol,), parts)
    config = uvicorn.Config(
        application,
        host=settings.host,
        port=settings.port,
        http=protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(grace)),
        backlog=BACKLOG,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    _Server(config).run()


def _is_news(record: logging.LogRecord) -> bool:
    """Cutting an answer off is how a caller is told that it is incomplete; its request's own line says why."""
    return "without completing response" not in record.getMessage()


class _Server(uvicorn.Server):
    """uvicorn raises the signal again after a graceful stop, which would end the process as if it had been killed."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        super().handle_exit(sig, frame)
        self._captured_signals.clear()


def allow_many_files() -> None:
    """Each request in flight takes two connections; the soft limit of most systems, 1,024, is far below the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def forbid_core_dumps() -> None:
    """No core dump of a process that holds the provider's key."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
