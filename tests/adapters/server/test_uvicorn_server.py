"""ServerStatus with uvicorn's own server."""

import uvicorn

from app.adapters.server.uvicorn_server import ServerStatus


async def application(*_: object) -> None:
    """An ASGI application that does nothing."""


def test_before_the_start_it_has_no_connections_and_is_not_draining() -> None:
    assert (ServerStatus().connections, ServerStatus().draining) == (0, False)


def test_it_drains_once_the_server_should_exit() -> None:
    status, server = ServerStatus(), uvicorn.Server(uvicorn.Config(application))
    status.attach(server)
    assert (status.connections, status.draining) == (0, False)
    server.should_exit = True
    assert status.draining is True
