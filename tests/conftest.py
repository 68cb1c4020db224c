"""Fixtures: a scripted upstream and a gateway process in front of it, one pair a test module."""

from collections.abc import Iterator

import pytest

from tests.stubs.gateway import ADMIN_KEY, GatewayProcess
from tests.stubs.upstream import ScriptedUpstream, json_answer


@pytest.fixture(scope="module")
def shared_upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(folder, shared_upstream.base_url, admin_key=ADMIN_KEY) as process:
        yield process


@pytest.fixture
def upstream(shared_upstream: ScriptedUpstream) -> ScriptedUpstream:
    """The scripted upstream, with nothing left of the test before."""
    shared_upstream.reset(json_answer("hello"))
    return shared_upstream
