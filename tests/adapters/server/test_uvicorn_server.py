"""What the server tells of itself, with uvicorn's own server."""

import uvicorn

from app.adapters.server.uvicorn_server import ServerStatus


async def nothing(*_: object) -> None:
    """An application."""


def test_before_it_serves_there_is_nothing_to_tell() -> None:
    assert (ServerStatus().connections, ServerStatus().draining) == (0, False)


def test_it_drains_from_the_moment_when_it_is_told_to_stop() -> None:
    serving, server = ServerStatus(), uvicorn.Server(uvicorn.Config(nothing))
    serving.begins(server)
    assert (serving.connections, serving.draining) == (0, False)
    server.should_exit = True
    assert serving.draining is True
