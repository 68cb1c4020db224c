"""Bytes that keep the event loop busy: every other connection is still answered while they are worked on."""

import threading
from collections.abc import Callable
from time import monotonic

from tests.behaviour.caller import connect
from tests.faults.answers import DONE, FIRST, row_of, sse, stream
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import RawResponse, request
from tests.stubs.upstream import ScriptedUpstream

HEALTH = request("GET", "/healthz")


def waits_during(gateway: GatewayProcess, act: Callable[[], object]) -> list[float]:
    """How long each request of another connection took, sent one after the other until `act` is done."""
    acting = threading.Thread(target=act)
    waits: list[float] = []
    with connect(gateway) as other:
        acting.start()
        while acting.is_alive() or not waits:
            began = monotonic()
            other.send(HEALTH)
            assert other.read_response("GET").status == 200
            waits.append(monotonic() - began)
        acting.join()
    return waits


def test_L183_events_that_arrive_together_let_others_have_their_turn(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    """Others have hundreds of turns, where they had one for each piece that the kernel handed over."""
    body = b"x\n\n" * 100_000
    upstream.reply(sse(body))
    answers: list[RawResponse] = []
    waits = waits_during(gateway, lambda: answers.append(stream(gateway)))
    print(f"{len(waits)} requests, the longest {max(waits) * 1e3:.1f} ms")
    assert answers[0].body.startswith(body)
    assert len(waits) > 300


def test_L183_blank_lines_are_no_events(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """2 MB of line ends took 6 s as a million events."""
    upstream.reply(sse(b"\r" * 2_000_000 + FIRST + DONE))
    answers: list[RawResponse] = []
    waits = waits_during(gateway, lambda: answers.append(stream(gateway)))
    print(f"{len(waits)} requests, the longest {max(waits) * 1e3:.1f} ms")
    assert answers[0].body == b"\r" * 2_000_000 + FIRST + DONE
    assert max(waits) < 3
    assert row_of(gateway, answers[0])["state"] == "settled"
