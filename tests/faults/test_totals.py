"""M: how much all callers together can make the gateway buffer, and what one caller leaves to the others."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.caller import CLIP, begin, connect, error_of, fence, form, post
from tests.faults.crowd import ANSWERS, EVENTS, KINDS, TEXTS, TEXTS_BEHIND, VALUES, Kind, crowd, peak_bytes
from tests.stubs.gateway import ADMIN_KEY, GatewayProcess
from tests.stubs.raw import chunked, multipart
from tests.stubs.scrape import Scrape
from tests.stubs.upstream import ScriptedUpstream, json_answer
from tests.stubs.vitals import wait_for

MIB = 1024 * 1024
# The buffers of one request: bytes read from its connection, and bytes that the provider has not read.
EACH = 768 * 1024
PATIENT = "[timeouts]\nbody_idle = 600\nwrite_idle = 600\nsse_idle = 600\n"


@pytest.fixture(scope="module")
def unread() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(keep_bodies=False) as upstream:
        yield upstream


def buffers(gateway: GatewayProcess) -> float:
    """The bytes in all buffers, by the metrics."""
    scraped = Scrape.of(gateway)
    return scraped.value("audio_gateway_buffer_bytes") + scraped.value("audio_gateway_spool_bytes")


@pytest.mark.parametrize(
    "kinds",
    [KINDS, (TEXTS,), (TEXTS_BEHIND,), (ANSWERS,), (VALUES,), (EVENTS,)],
    ids=["mixed", "texts", "texts-behind", "answers", "values", "events"],
)
def test_M208_each_kind_of_buffer_has_a_limit_for_all_requests_together(
    unread: ScriptedUpstream, tmp_path: Path, kinds: tuple[Kind, ...]
) -> None:
    """Thirty-five callers fill as much as they can, each within the limits of one request."""
    unread.reset(json_answer("hello"))
    settings = f"[server]\nmax_buffer_bytes = {4 * MIB}\nspool_total_bytes = {100 * MIB}\n{PATIENT}"
    with GatewayProcess(tmp_path, unread.base_url, settings, admin_key=ADMIN_KEY) as gateway:
        assert post(gateway, form()).status == 200
        before = peak_bytes(gateway)
        with crowd(gateway, unread, 35, kinds):
            assert peak_bytes(gateway) - before < 35 * EACH + 3 * 4 * 4 * MIB
            unread.default = json_answer("hello")
            assert post(gateway, form()).status == 200
        assert wait_for(lambda: buffers(gateway) == 0), buffers(gateway)


def test_M209_one_caller_leaves_spool_space_for_another(
    shared_upstream: ScriptedUpstream, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """The files come before their model, as curl may send them, and the model never comes."""
    settings = f"[server]\nspool_total_bytes = {4 * MIB}\n"
    with (
        GatewayProcess(tmp_path, upstream.base_url, settings, admin_key=ADMIN_KEY) as gateway,
        contextlib.ExitStack() as stack,
    ):
        other = gateway.create_caller("other")
        for number in range(4):
            caller = stack.enter_context(connect(gateway))
            begin(gateway, caller)
            caller.send(chunked([multipart(form(None, CLIP + bytes(950_000)), closing=False)], last=b""))
            if number == 3:
                refused = caller.read_response()
                assert (refused.status, error_of(refused)["code"]) == (503, "overloaded")
                assert refused.header("retry-after") == "1"
            fence(gateway)
        kept = form(audio=CLIP + bytes(200_000))[::-1]
        assert post(gateway, kept, headers=[("Authorization", other)]).status == 200
        assert upstream.journal[0].file.data == CLIP + bytes(200_000)
