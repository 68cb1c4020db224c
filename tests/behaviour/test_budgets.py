"""Budgets hold exactly: a hundred at once against a budget for ten, and the bound at every prefix of the ledger."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from tests.behaviour.test_kill import SILENCE
from tests.stubs.gateway import ADMIN_KEY, NO_TLS, GatewayProcess
from tests.stubs.invariants import most_over
from tests.stubs.upstream import ScriptedUpstream, json_answer

ROUNDS = 50
AT_ONCE = 100

Seen = tuple[int, str | None, str | None]


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(keep_bodies=False) as scripted:
        yield scripted


@pytest.fixture(scope="module")
def gateway(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), upstream.base_url, admin_key=ADMIN_KEY) as process:
        yield process


@pytest.fixture(scope="module")
def bound(gateway: GatewayProcess) -> int:
    """What one request holds, in nano-dollars; a little more than it costs."""
    assert asyncio.run(at_once(gateway, gateway.key, 1)) == [(200, None, None)]
    (row,) = gateway.rows("caller = 'team'")
    assert 0 < row["cost_nano_usd"] < row["bound_nano_usd"] < 2 * row["cost_nano_usd"]
    return int(row["bound_nano_usd"])


def caller_with(gateway: GatewayProcess, name: str, budget_nano_usd: int) -> str:
    """A new caller with this budget; the key."""
    return gateway.create_caller(name, budgets=[f"{budget_nano_usd / 1e9:.9f}usd/month"])


async def ask(client: httpx.AsyncClient, gateway: GatewayProcess) -> Seen:
    answer = await client.post(
        f"{gateway.base_url}/audio/transcriptions", data={"model": "whisper-1"}, files={"file": ("a.wav", SILENCE)}
    )
    code = None if answer.status_code == 200 else answer.json()["error"]["code"]
    return answer.status_code, code, answer.headers.get("x-should-retry")


async def at_once(
    gateway: GatewayProcess, key: str, count: int, gate: threading.Event | None = None, refused: int = 0
) -> list[Seen]:
    """So many requests at the same moment; the provider's gate opens once so many of them are refused."""
    barrier, still = asyncio.Barrier(count), refused
    limits = httpx.Limits(max_connections=count)
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(limits=limits, timeout=60, headers=headers, **NO_TLS) as client:

        async def one() -> Seen:
            nonlocal still
            await barrier.wait()
            seen = await ask(client, gateway)
            still -= seen[0] != 200
            if gate is not None and still == 0:
                gate.set()
            return seen

        return await asyncio.gather(*(one() for _ in range(count)))


def test_ten_of_a_hundred_at_once_pass_a_budget_for_ten(
    upstream: ScriptedUpstream, gateway: GatewayProcess, bound: int
) -> None:
    for number in range(ROUNDS):
        name, gate = f"round-{number}", threading.Event()
        key = caller_with(gateway, name, 10 * bound)
        upstream.default = json_answer("hello").but(gate=gate)
        seen = Counter(asyncio.run(at_once(gateway, key, AT_ONCE, gate, refused=90)))
        assert seen == {(200, None, None): 10, (429, "budget_reserved", None): 90}
        rows = gateway.rows(f"caller = '{name}'")
        assert len(rows) == 10
        assert {row["state"] for row in rows} == {"settled"}
        assert most_over(rows, 10 * bound) <= 0


def test_a_budget_is_spent_to_its_end_one_at_a_time(
    upstream: ScriptedUpstream, gateway: GatewayProcess, bound: int
) -> None:
    upstream.default = json_answer("hello")
    limit = 3 * bound
    key = caller_with(gateway, "to-the-end", limit)
    seen = [asyncio.run(at_once(gateway, key, 1))[0] for _ in range(6)]
    assert seen[-1] == (429, "insufficient_quota", "false")
    rows = gateway.rows("caller = 'to-the-end'")
    spent = sum(row["cost_nano_usd"] for row in rows)
    assert limit <= spent < limit + bound
    assert most_over(rows, limit) <= bound
