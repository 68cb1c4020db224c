"""Gateways with special settings, one process for each module."""

from collections.abc import Iterator

import pytest

from tests.stubs.gateway import GatewayProcess
from tests.stubs.upstream import ScriptedUpstream


@pytest.fixture(scope="module")
def hasty(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with timeouts of one second."""
    settings = "[timeouts]\nkeep_alive = 1\nhead = 1\nbody_idle = 1\nwrite_idle = 1\nlinger = 1"
    with GatewayProcess(tmp_path_factory.mktemp("hasty"), shared_upstream.base_url, settings) as process:
        yield process
