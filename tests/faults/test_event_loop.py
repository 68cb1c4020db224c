"""Expensive bytes do not block other connections."""

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
    """Durations of requests on another connection, sent one after the other until `act` returns."""
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


def test_L183_events_that_arrive_together_do_not_block_other_connections(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    """Other requests get hundreds of turns, not just one for each read of the socket."""
    body = b"x\n\n" * 100_000
    upstream.reply(sse(body))
    answers: list[RawResponse] = []
    waits = waits_during(gateway, lambda: answers.append(stream(gateway)))
    print(f"{len(waits)} requests, the longest {max(waits) * 1e3:.1f} ms")
    assert answers[0].body.startswith(body)
    assert len(waits) > 300


def test_L183_blank_lines_are_not_events(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """2 MB of line ends as a million events used to take 6 s."""
    upstream.reply(sse(b"\r" * 2_000_000 + FIRST + DONE))
    answers: list[RawResponse] = []
    waits = waits_during(gateway, lambda: answers.append(stream(gateway)))
    print(f"{len(waits)} requests, the longest {max(waits) * 1e3:.1f} ms")
    assert answers[0].body == b"\r" * 2_000_000 + FIRST + DONE
    assert max(waits) < 3
    assert row_of(gateway, answers[0])["state"] == "settled"
