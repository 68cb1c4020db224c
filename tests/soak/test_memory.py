"""The gateway with default settings and as many requests as it admits, under the compose file's memory limit."""

import resource
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from app.config import Config
from tests.behaviour.caller import form, post
from tests.contract.tree import ROOT
from tests.faults.crowd import KEPT, KINDS, UPLOADS, Kind, crowd, peak_bytes
from tests.stubs.gateway import GatewayProcess
from tests.stubs.upstream import ScriptedUpstream

PATIENT = "[timeouts]\nbody_idle = 600\nwrite_idle = 600\nsse_idle = 600\n"


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kinds", [KINDS, (UPLOADS,), (KEPT,)], ids=["mixed", "uploads", "kept"])
def test_the_most_callers_stay_within_the_memory_of_the_container(tmp_path: Path, kinds: Sequence[Kind]) -> None:
    limit = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]["gateway"]["mem_limit"]
    assert limit == "1g"
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with (
        ScriptedUpstream(keep_bodies=False) as upstream,
        GatewayProcess(tmp_path, upstream.base_url, PATIENT) as gateway,
    ):
        assert post(gateway, form()).status == 200
        with crowd(gateway, upstream, Config().server.max_requests, kinds):
            assert peak_bytes(gateway) < 1 << 30
        gateway.kill()
