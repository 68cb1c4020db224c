"""Good and bad callers and an unreliable provider, while keys and budgets change: the gateway leaks nothing.

`SOAK_SECONDS` says for how long: 600 by default.
"""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.adapters.sqlite import executor
from tests.faults.test_limits import at_once
from tests.soak.acts import MAX_FILE_BYTES, Caller
from tests.soak.weather import MoodyProvider
from tests.stubs.gateway import ADMIN_KEY, GatewayProcess
from tests.stubs.invariants import check_ledger, max_overrun
from tests.stubs.upstream import FormError, ScriptedUpstream, json_answer
from tests.stubs.vitals import Vitals, vitals, wait_for

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
WARM_UP_SECONDS = 20.0
CALLERS = 12
MAX_REQUESTS = 32
BUDGET_NANO_USD = 200_000_000
# What the allocator and the caches may keep from the busiest moment, which may come after the warm-up.
RESIDENT_GROWTH_BYTES = 32 * 1024 * 1024
# asyncio's default executor makes its threads when they are wanted, up to so many.
POOLED_THREADS = (os.cpu_count() or 1) + 4
# SQLite keeps the file of a closed session open while another connection has a lock on it, for the next one to use.
SESSIONS_AT_ONCE = 2 * executor.THREADS

SETTINGS = f"""
[server]
max_requests = {MAX_REQUESTS}
max_file_bytes = {MAX_FILE_BYTES}
[timeouts]
head = 2
body_idle = 2
first_byte = 10
sse_idle = 2
write_idle = 2
linger = 2
"""


@pytest.fixture
def gateway(upstream: MoodyProvider, tmp_path: Path) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path, upstream.base_url, SETTINGS, admin_key=ADMIN_KEY) as process:
        yield process


@pytest.fixture
def upstream() -> Iterator[MoodyProvider]:
    with MoodyProvider(seed=1) as provider:
        yield provider
        # A head that breaks off with its caller is not a fault of the gateway. A complete malformed form is one.
        provider.failures = [failure for failure in provider.failures if isinstance(failure, FormError)]


@pytest.fixture
def callers(gateway: GatewayProcess) -> list[Caller]:
    """The first caller has a fixed budget that the load spends. The second has a low concurrency limit."""
    steady = Caller(gateway, "steady", 0, models=["whisper-1"], budgets=[f"{BUDGET_NANO_USD / 1e9:.9f}usd/month"])
    narrow = Caller(gateway, "narrow", 1, concurrency=1, rpm=600)
    return [steady, narrow, *(Caller(gateway, f"caller-{number}", number) for number in range(2, CALLERS))]


def load(gateway: GatewayProcess, upstream: ScriptedUpstream, callers: list[Caller], seconds: float) -> None:
    """Lets all callers act for `seconds` while an administrator changes them. Raises the first error of any of them."""
    stopped = threading.Event()
    failures: list[Exception] = []

    def act_until_stopped(caller: Caller) -> None:
        try:
            while not stopped.is_set():
                caller.act()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=act_until_stopped, args=(caller,), name=caller.name) for caller in callers]
    for thread in threads:
        thread.start()
    chance, end = random.Random(7), time.monotonic() + seconds
    while time.monotonic() < end and not failures:
        administer(gateway, chance.choice(callers[1:]), chance)
        upstream.journal.clear()
        time.sleep(0.2)
    stopped.set()
    for thread in threads:
        thread.join(60)
    if failures:
        raise failures[0]


def administer(gateway: GatewayProcess, caller: Caller, chance: random.Random) -> None:
    """Gives the caller a new key or another budget."""
    if chance.random() < 0.3:
        rotated = gateway.admin("POST", f"/callers/{caller.name}/keys", {"overlap_hours": 0.02})
        caller.key = rotated.json()["key"]
    else:
        budgets = chance.choice((None, None, None, ["1min/day"], ["500min/day", "2usd/total"]))
        assert gateway.admin("PATCH", f"/callers/{caller.name}", {"budgets": budgets}).status_code == 200


def idle(gateway: GatewayProcess, upstream: ScriptedUpstream, files: int = 0) -> Vitals:
    """What it holds when nothing is in flight, its pool of connections has ended and no more than so many files are
    open, or after a minute of waiting for that.
    """
    assert wait_for(lambda: not gateway.rows("state = 'held'")), gateway.rows("state = 'held'")
    assert wait_for(lambda: upstream.connections_open == 0), upstream.connections_open
    wait_for(lambda: vitals(gateway.proc).files <= files, seconds=60 if files else 5)
    return vitals(gateway.proc)


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 600)
def test_the_gateway_leaks_nothing(gateway: GatewayProcess, upstream: MoodyProvider, callers: list[Caller]) -> None:
    load(gateway, upstream, callers, WARM_UP_SECONDS)
    before = idle(gateway, upstream)
    load(gateway, upstream, callers, SECONDS)
    after = idle(gateway, upstream, before.files)
    seen = sum((caller.seen for caller in callers), Counter[str]())
    print(f"\n{before}\n{after}\n{seen}")

    more = after.names - before.names
    assert set(more) <= {gateway.ledger.name}, more
    assert more.total() <= SESSIONS_AT_ONCE, more
    assert after.threads <= before.threads + POOLED_THREADS
    assert after.resident <= before.resident + RESIDENT_GROWTH_BYTES
    assert not seen.keys() & {"500 internal_error", "500 ledger_unavailable", "503 ledger_unavailable"}, seen
    assert seen["200"] > SECONDS
    assert not [line for line in gateway.log_lines("log") if "exception" in line]

    check_ledger(gateway.ledger)
    done = gateway.command("usage", "export", "--verify", "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    rows = gateway.rows("caller = 'steady'")
    assert sum(row["cost_nano_usd"] for row in rows) > 0
    assert max_overrun(rows, BUDGET_NANO_USD) <= max(row["bound_nano_usd"] for row in rows)
    check_slots_free(gateway, upstream)


def check_slots_free(gateway: GatewayProcess, upstream: MoodyProvider) -> None:
    """Checks that the most concurrent requests can wait at the provider together and all succeed."""
    gate = threading.Event()
    upstream.mood = json_answer("late").but(gate=gate)
    upstream.journal.clear()

    def open_when_all_wait() -> None:
        upstream.wait_for(MAX_REQUESTS, 60)
        gate.set()

    opener = threading.Thread(target=open_when_all_wait)
    opener.start()
    key = gateway.create_caller("last")
    assert at_once(gateway, key, MAX_REQUESTS) == [(200, None, None)] * MAX_REQUESTS
    opener.join()
