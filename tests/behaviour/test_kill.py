"""`kill -9` under load: every response that a caller received completely is settled, with the provider's own counts."""

import itertools
import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.stubs.callers import BusyCallers
from tests.stubs.exchange import Exchange
from tests.stubs.gateway import GatewayProcess
from tests.stubs.invariants import check_ledger
from tests.stubs.upstream import Reply, ScriptedUpstream, json_answer

SILENCE = b"RIFF$\x3e\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\0\x3e\0\0" + bytes(15872)


class CountingProvider:
    """Answers each request with token counts that no other answer has, all of them plausible for the clip."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self, exchange: Exchange) -> Reply:
        number = next(self._numbers)
        read, written = 1 + number % 600, 1 + number // 600
        usage = {"type": "tokens", "input_tokens": read, "output_tokens": written, "total_tokens": read + written}
        return json_answer(f"answer {number}", usage=usage)


def kill_often(folder: Path, times: int, seed: int) -> tuple[GatewayProcess, list[tuple[str, dict[str, Any]]]]:
    """Kill and start a busy gateway so often, at random moments; the gateway, stopped, and the answers seen.

    After every start nothing of the time before is held, and the ledger's laws hold.
    """
    chance = random.Random(seed)
    with ScriptedUpstream(keep_bodies=False) as upstream:
        upstream.default = CountingProvider()
        gateway = GatewayProcess(folder, upstream.base_url)
        gateway.start()
        with BusyCallers(gateway, SILENCE) as callers:
            for _ in range(times):
                time.sleep(chance.uniform(0, 0.2))
                gateway.kill()
                upstream.journal.clear()
                started_ms = time.time_ns() // 1_000_000
                gateway.start()
                check_ledger(gateway.ledger, alive_since_ms=started_ms)
            time.sleep(0.3)
        gateway.stop()
        check_ledger(gateway.ledger)
        # A provider's connection that a kill cut in the middle is no fault of the gateway's.
        upstream.failures.clear()
    return gateway, callers.seen


def check_nothing_lost(gateway: GatewayProcess, seen: list[tuple[str, dict[str, Any]]]) -> None:
    rows = {row["id"]: row for row in gateway.rows()}
    for request_id, answer in seen:
        row = rows[request_id]
        assert row["state"] == "settled"
        assert row["input_tokens"] == answer["usage"]["input_tokens"]
        assert row["output_tokens"] == answer["usage"]["output_tokens"]
    settled = [(row["input_tokens"], row["output_tokens"]) for row in rows.values() if row["state"] == "settled"]
    assert len(settled) == len(set(settled))
    assert {row["state"] for row in rows.values()} <= {"settled", "unknown", "released"}


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_thousand_kills(tmp_path: Path) -> None:
    gateway, seen = kill_often(tmp_path, times=1000, seed=2)
    assert len(seen) > 5_000
    check_nothing_lost(gateway, seen)
