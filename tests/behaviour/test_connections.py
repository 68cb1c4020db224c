"""Connections that send no request, or whose peer does not read, are closed."""

import time
from collections.abc import Iterator

import pytest

from tests.behaviour.caller import connect
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import chunked, request
from tests.stubs.upstream import ScriptedUpstream

HEALTH = request("GET", "/healthz")


@pytest.fixture(scope="module")
def hasty(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that waits a second for everything."""
    settings = "[timeouts]\nkeep_alive = 1\nhead = 1\nwrite_idle = 1"
    with GatewayProcess(tmp_path_factory.mktemp("hasty"), shared_upstream.base_url, settings) as process:
        yield process


@pytest.mark.parametrize(
    "opening",
    [
        HEALTH + b"\r\n",
        request("GET", "/healthz", [("Content-Length", "100")]) + b"x",
        request("POST", "/v1/unknown", [("Content-Length", "100")]) + b"x",
        request("POST", "/v1/unknown", [("Transfer-Encoding", "chunked")]) + chunked([b"x"], last=b""),
    ],
    ids=["CRLF", "GET", "POST", "chunked"],
)
def test_a_connection_without_a_request_is_closed(hasty: GatewayProcess, opening: bytes) -> None:
    with connect(hasty) as caller:
        caller.send(opening)
        assert caller.read_response().status in (200, 404)
        time.sleep(0.2)
        caller.send(b"\r\n")
        assert caller.closed(timeout=10)


def test_a_peer_that_does_not_read_is_disconnected(hasty: GatewayProcess) -> None:
    with connect(hasty) as caller:
        caller.send(request("GET", "/openapi.json") * 400)
        time.sleep(4)
        answered = 0
        while caller.read_response("GET").complete:
            answered += 1
        assert 0 < answered < 400
