"""M: what all callers together can make the gateway hold, and what one of them leaves to the others."""

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
# What a request has for itself: what was read of its connection and not passed on, and what the provider does not take.
EACH = 768 * 1024
PATIENT = "[timeouts]\nbody_idle = 600\nwrite_idle = 600\nsse_idle = 600\n"


@pytest.fixture(scope="module")
def unread() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(keep_bodies=False) as upstream:
        yield upstream


def buffers(gateway: GatewayProcess) -> float:
    """The bytes that its quotas count now."""
    scraped = Scrape.of(gateway)
    return scraped.value("audio_gateway_buffer_bytes") + scraped.value("audio_gateway_spool_bytes")


@pytest.mark.parametrize(
    "kinds",
    [KINDS, (TEXTS,), (TEXTS_BEHIND,), (ANSWERS,), (VALUES,), (EVENTS,)],
    ids=["mixed", "texts", "texts-behind", "answers", "values", "events"],
)
def test_M208_each_kind_of_buffer_is_bounded_for_all_requests_together(
    unread: ScriptedUpstream, tmp_path: Path, kinds: tuple[Kind, ...]
) -> None:
    """Thirty-five callers hold what they can; one by one they are within what one request may have."""
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


def test_M209_one_caller_leaves_space_to_keep_the_upload_of_another(
    shared_upstream: ScriptedUpstream, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """Files that come before their model, as curl sends them, and whose model never comes."""
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
