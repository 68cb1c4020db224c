"""A reload applies new settings and keys to the requests that begin after it."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from app.wire import apikey
from tests.behaviour.test_kill import SILENCE
from tests.faults.asking import Asking
from tests.stubs.callers import BusyCallers
from tests.stubs.reloading import ReloadableGateway
from tests.stubs.upstream import ScriptedUpstream, json_answer

FIRST, SECOND = "sk-provider-first", "sk-provider-second"

MODEL = """
[[models]]
id = "{id}"
tasks = ["transcribe"]
upstream_model = "{upstream}"
price = {{ per_minute = "{price}" }}
"""


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as scripted:
        yield scripted


@pytest.fixture
def gateway(upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[ReloadableGateway]:
    with ReloadableGateway(tmp_path, upstream.base_url) as process:
        yield process
        log = process.log.read_text()
        assert "Traceback" not in log
        assert "Unclosed" not in log


def upstream_keys(upstream: ScriptedUpstream) -> list[str | None]:
    return [exchange.header("authorization") for exchange in upstream.journal]


@contextmanager
def in_flight(gateway: ReloadableGateway, upstream: ScriptedUpstream) -> Iterator[Asking]:
    """A request whose complete form the provider has received."""
    before = len(upstream.journal)
    with Asking(gateway) as asking:
        upstream.wait_until(lambda: len(upstream.journal) > before and upstream.journal[before].complete)
        yield asking


def wait_for_more(busy: BusyCallers, upstream: ScriptedUpstream, count: int = 30) -> None:
    """Waits until `count` more requests have ended."""
    seen = len(busy.seen)
    upstream.wait_until(lambda: len(busy.seen) + len(busy.refused) + busy.lost >= seen + count)


def test_changing_the_upstream_key_fails_no_request(gateway: ReloadableGateway, upstream: ScriptedUpstream) -> None:
    callers = 8
    with BusyCallers(gateway, SILENCE, count=callers) as busy:
        wait_for_more(busy, upstream)
        gateway.key_file.write_text(SECOND)
        gateway.reload()
        reloaded_at = len(upstream.journal)
        wait_for_more(busy, upstream, 100)
    assert (busy.refused, busy.lost) == ([], 0)
    before, after = upstream_keys(upstream)[:reloaded_at], upstream_keys(upstream)[reloaded_at:]
    assert f"Bearer {FIRST}" in before
    assert set(after) <= {f"Bearer {FIRST}", f"Bearer {SECOND}"}
    # One request of each caller may have begun before the reload, with the old key.
    assert after.count(f"Bearer {FIRST}") <= callers < after.count(f"Bearer {SECOND}")


def test_a_request_in_flight_keeps_its_snapshot(gateway: ReloadableGateway, upstream: ScriptedUpstream) -> None:
    gate = threading.Event()
    upstream.reply(json_answer("late").but(gate=gate))
    with in_flight(gateway, upstream) as asking:
        gateway.key_file.write_text(SECOND)
        gateway.reload()
        assert gateway.transcribe(gateway.key, SILENCE).status_code == 200
        gate.set()
        assert asking.answer.json()["text"] == "late"
        assert upstream_keys(upstream) == [f"Bearer {FIRST}", f"Bearer {SECOND}"]
        assert {row["state"] for row in gateway.rows()} == {"settled"}


def test_a_removed_caller_finishes_requests_in_flight_and_starts_none(
    gateway: ReloadableGateway, upstream: ScriptedUpstream
) -> None:
    gate = threading.Event()
    upstream.reply(json_answer("late").but(gate=gate))
    with in_flight(gateway, upstream) as asking:
        other = apikey.mint(bytes(range(apikey.RANDOM_BYTES)))
        gateway.config.write_text(gateway.settings().replace(apikey.digest(gateway.key), apikey.digest(other)))
        gateway.reload()
        assert gateway.transcribe(gateway.key, SILENCE).status_code == 401
        assert gateway.transcribe(other, SILENCE).status_code == 200
        gate.set()
        assert asking.answer.status == 200


def test_models_prices_and_limits_apply_from_the_next_request(
    gateway: ReloadableGateway, upstream: ScriptedUpstream
) -> None:
    assert gateway.transcribe(gateway.key, SILENCE, model="own").json()["error"]["code"] == "model_not_found"
    gateway.write(MODEL.format(id="own", upstream="theirs", price="0.006"), policy="rpm = 60\nburst = 2")
    gateway.reload()
    first = gateway.transcribe(gateway.key, SILENCE, model="own")
    assert (first.status_code, first.headers["x-ratelimit-limit-requests"]) == (200, "60")
    assert upstream.journal[0].field("model") == "theirs"
    gateway.write(MODEL.format(id="own", upstream="theirs", price="0.012"), policy="rpm = 60\nburst = 2")
    gateway.reload()
    second = gateway.transcribe(gateway.key, SILENCE, model="own")
    costs = [gateway.row(answer.headers["x-request-id"])["cost_nano_usd"] for answer in (first, second)]
    assert 0 < costs[0] * 2 == costs[1]


def test_the_rate_limiter_keeps_its_state(gateway: ReloadableGateway) -> None:
    gateway.write(policy="rpm = 1\nburst = 1")
    gateway.reload()
    assert gateway.transcribe(gateway.key, SILENCE).status_code == 200
    gateway.reload()
    assert gateway.transcribe(gateway.key, SILENCE).json()["error"]["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize(
    ("policy", "code"),
    [("concurrency = 1", "rate_limit_exceeded"), ("budgets = ['0.00009usd']", "budget_reserved")],
    ids=["concurrency", "hold"],
)
def test_requests_in_flight_still_count(
    policy: str, code: str, gateway: ReloadableGateway, upstream: ScriptedUpstream
) -> None:
    gateway.write(policy=policy)
    gateway.reload()
    gate = threading.Event()
    upstream.reply(json_answer("late").but(gate=gate))
    with in_flight(gateway, upstream) as asking:
        gateway.reload()
        refused = gateway.transcribe(gateway.key, SILENCE)
        assert refused.json()["error"]["code"] == code
        gate.set()
        assert asking.answer.status == 200
        assert gateway.transcribe(gateway.key, SILENCE).status_code == 200


def test_no_request_sees_two_snapshots(gateway: ReloadableGateway, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """Each configuration has its own key and model name. The provider must receive them as a pair."""
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        file.write_text(f"sk-{file.name}")
    models = [MODEL.format(id="whisper-1", upstream=f"model-{file.name}", price="0.006") for file in files]
    gateway.write(models[0], key_file=files[0])
    gateway.reload()
    with BusyCallers(gateway, SILENCE) as busy:
        for turn in range(1, 13):
            gateway.write(models[turn % 2], key_file=files[turn % 2])
            gateway.send_sighup()
            gateway.wait_for_reload_line(turn + 1, "info")
            wait_for_more(busy, upstream, 5)
    assert (busy.refused, busy.lost) == ([], 0)
    seen = {(exchange.header("authorization"), exchange.field("model")) for exchange in upstream.journal}
    assert seen == {("Bearer sk-a", "model-a"), ("Bearer sk-b", "model-b")}


def test_new_alert_thresholds_apply_to_the_next_reservations(gateway: ReloadableGateway) -> None:
    policy = "budgets = ['0.01usd']"
    for threshold, expected in ((1000, 0), (1, 1)):
        gateway.write(f"[alerts]\nthresholds = [{threshold}]", policy)
        gateway.reload()
        for _ in range(3):
            assert gateway.transcribe(gateway.key, SILENCE).status_code == 200
        assert alerts(gateway, expected) == expected


def alerts(gateway: ReloadableGateway, expected: int) -> int:
    """Returns how many alerts the log has, when it has the expected number or some time has passed."""
    deadline = time.monotonic() + (30 if expected else 2)
    while True:
        found = [line for line in gateway.log_lines("log") if "has spent" in line["message"]]
        if len(found) > expected or (found and expected) or time.monotonic() > deadline:
            return len(found)
        time.sleep(0.05)


def test_a_stop_lets_the_requests_of_both_snapshots_finish(
    gateway: ReloadableGateway, upstream: ScriptedUpstream
) -> None:
    gates = [threading.Event(), threading.Event()]
    upstream.reply(*(json_answer("late").but(gate=gate) for gate in gates))
    with ExitStack() as stack:
        asking = []
        for _ in gates:
            asking.append(stack.enter_context(in_flight(gateway, upstream)))
            gateway.reload()
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        for gate in gates:
            gate.set()
        assert [request.answer.status for request in asking] == [200, 200]
    assert gateway.stop() == 0
    assert {row["state"] for row in gateway.rows()} == {"settled"}


def test_many_signals_at_once_apply_the_last_settings(gateway: ReloadableGateway, upstream: ScriptedUpstream) -> None:
    for number in range(5):
        gateway.key_file.write_text(f"sk-provider-{number}")
        gateway.send_sighup(signals=10)
    gateway.reload()
    assert gateway.transcribe(gateway.key, SILENCE).status_code == 200
    assert upstream_keys(upstream) == ["Bearer sk-provider-4"]


def test_a_reload_can_add_the_admin_api(gateway: ReloadableGateway, tmp_path: Path) -> None:
    assert gateway.admin("GET", "/callers").status_code == 404
    gateway.admin_key = "admin-0123456789abcdef"
    (tmp_path / "admin_key").write_text(gateway.admin_key)
    gateway.write(f'[admin]\nkey_file = "{tmp_path / "admin_key"}"')
    gateway.reload()
    assert gateway.admin("GET", "/callers").status_code == 200


def test_the_reload_command_prints_the_result(gateway: ReloadableGateway) -> None:
    gateway.write("[limits]\nrpm = 60")
    done = gateway.command("reload")
    assert (done.returncode, done.stdout) == (0, "reloaded; changed: limits\n")
    assert gateway.reload_lines("info")[-1]["message"] == "reloaded; changed: limits"


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ("[server]\nmax_requests = 7", "server.max_requests"),
        ('[ledger]\nsynchronous = "normal"', "ledger.synchronous"),
        ("[timeouts]\nhead = 3\ngrace = 3", "timeouts.head, timeouts.grace"),
    ],
    ids=["server", "ledger", "timeouts"],
)
def test_a_change_that_needs_a_restart_is_refused_by_name(more: str, names: str, gateway: ReloadableGateway) -> None:
    gateway.write(f"{more}\n[limits]\nrpm = 1")
    assert f"{names}: cannot change while the gateway runs; restart it" in gateway.failed_reload()
    for _ in range(3):
        assert gateway.transcribe(gateway.key, SILENCE).status_code == 200


def test_the_reload_command_fails_without_a_gateway(gateway: ReloadableGateway) -> None:
    gateway.stop()
    done = gateway.command("reload")
    assert done.returncode == 1
    assert "no gateway is serving from it" in done.stderr


def test_the_reload_command_signals_no_other_process(gateway: ReloadableGateway) -> None:
    """The lock may hold the pid of another process, as between containers. SIGHUP would end it."""
    lock = gateway.ledger.with_name("ledger.db.lock")
    lock.write_text("1\n")
    done = gateway.command("reload")
    assert done.returncode == 1
    assert "in another container" in done.stderr


def test_a_refused_second_gateway_keeps_the_first_reloadable(gateway: ReloadableGateway) -> None:
    assert gateway.command("serve").returncode == 1
    gateway.reload()
