"""Budget alerts: one signed webhook for each threshold and window, delivered at least once, delaying no request."""

import hashlib
import hmac
import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.behaviour.test_kill import SILENCE
from tests.faults.disks import LimitedFiles
from tests.stubs.gateway import ADMIN_KEY, GatewayProcess, free_port
from tests.stubs.upstream import ScriptedUpstream

SECRET = "hook-secret-0123456789"
# One request of SILENCE costs 49,600 nano-dollars: two are 84 % of this budget, the third spends it.
BUDGET = "0.000118usd/day"


class Receiver:
    """A webhook receiver. It responds with `statuses`, then with 204. It waits for `hang` before each response."""

    def __init__(self, port: int = 0) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.arrivals: list[tuple[str, float]] = []
        self.statuses: list[int] = []
        self.hang = threading.Event()
        self.hang.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.arrivals.append((json.loads(body)["id"], time.monotonic()))
                receiver.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
                receiver.hang.wait(30)
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *values: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()

    def documents(self, caller: str) -> list[dict[str, Any]]:
        found = [json.loads(body) for _, body in self.received]
        return [document for document in found if document["caller"] == caller]

    def wait_for(self, caller: str, count: int, timeout: float = 15) -> list[dict[str, Any]]:
        deadline = time.monotonic() + timeout
        while len(self.documents(caller)) < count:
            assert time.monotonic() < deadline, self.received
            time.sleep(0.02)
        return self.documents(caller)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def started(folder: Path, upstream: ScriptedUpstream, port: int) -> GatewayProcess:
    settings = f'[alerts]\nwebhook_url = "http://127.0.0.1:{port}/hook"\nwebhook_secret_env = "HOOK_SECRET"'
    return GatewayProcess(folder, upstream.base_url, settings, admin_key=ADMIN_KEY, HOOK_SECRET=SECRET)


@pytest.fixture(scope="module")
def gateway(
    shared_upstream: ScriptedUpstream, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    with started(tmp_path_factory.mktemp("gateway"), shared_upstream, receiver.port) as process:
        yield process


def logged_alerts(gateway: GatewayProcess, caller: str) -> list[str]:
    lines = [line["message"] for line in gateway.log_lines("log") if line["logger"] == "audio_gateway.budgets"]
    return [line for line in lines if line.startswith(f"caller {caller} ")]


def test_one_webhook_for_each_threshold(
    upstream: ScriptedUpstream, gateway: GatewayProcess, receiver: Receiver
) -> None:
    key = gateway.create_caller("alice", budgets=[BUDGET, "1000min/month"])
    assert gateway.transcribe(key, SILENCE).status_code == 200
    assert gateway.transcribe(key, SILENCE).status_code == 200
    (first,) = receiver.wait_for("alice", 1)
    assert (first["type"], first["budget"], first["threshold_percent"]) == ("budget.threshold_reached", BUDGET, 80)
    assert (first["spent"], first["limit"]) == ("0.0000992", "0.000118")
    assert first["window_began"] == first["created_at"][:10]
    assert [gateway.transcribe(key, SILENCE).status_code for _ in range(3)] == [200, 429, 429]
    documents = receiver.wait_for("alice", 3)
    time.sleep(2.5)  # two more polls
    assert receiver.documents("alice") == documents
    assert {alert["threshold_percent"]: alert["spent_percent"] for alert in documents} == {80: 84, 95: 126, 100: 126}
    assert len({alert["id"] for alert in documents}) == 3
    assert len(logged_alerts(gateway, "alice")) == 3


def test_a_webhook_is_signed(upstream: ScriptedUpstream, gateway: GatewayProcess, receiver: Receiver) -> None:
    key = gateway.create_caller("signed", budgets=["1tokens"])
    gateway.transcribe(key, SILENCE)
    receiver.wait_for("signed", 3)
    for headers, body in receiver.received:
        expected = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert headers["x-signature-256"] == f"sha256={expected}"
        assert headers["content-type"] == "application/json"
        assert SECRET not in repr(headers) + body.decode()
    assert SECRET not in gateway.log.read_text()


def test_a_failed_webhook_is_retried(upstream: ScriptedUpstream, gateway: GatewayProcess, receiver: Receiver) -> None:
    receiver.statuses = [500, 302, 404]
    key = gateway.create_caller("unlucky", budgets=["1tokens"])
    gateway.transcribe(key, SILENCE)
    documents = receiver.wait_for("unlucky", 6)
    attempts = Counter(alert["id"] for alert in documents)
    assert sorted(attempts.values()) == [2, 2, 2]
    assert len(logged_alerts(gateway, "unlucky")) == 3  # one line each, however many attempts there are


def test_a_dead_receiver_delays_no_request(
    upstream: ScriptedUpstream, gateway: GatewayProcess, receiver: Receiver
) -> None:
    receiver.hang.clear()
    dead = gateway.create_caller("dead", budgets=["1tokens"])
    gateway.transcribe(dead, SILENCE)
    receiver.wait_for("dead", 1)
    free = gateway.create_caller("free")
    started_at = time.monotonic()
    assert [gateway.transcribe(free, SILENCE).status_code for _ in range(10)] == [200] * 10
    assert time.monotonic() - started_at < 20
    receiver.hang.set()


def test_an_alert_survives_a_killed_gateway_and_an_absent_receiver(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    port = free_port()
    with started(tmp_path, upstream, port) as gateway:
        key = gateway.create_caller("patient", budgets=["1tokens"])
        gateway.transcribe(key, SILENCE)
        deadline = time.monotonic() + 10
        while len(logged_alerts(gateway, "patient")) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        gateway.kill()
        with Receiver(port) as receiver:
            gateway.start()
            documents = receiver.wait_for("patient", 3)
            assert {alert["threshold_percent"] for alert in documents} == {80, 95, 100}
            assert gateway.transcribe(key, SILENCE).status_code == 429
            time.sleep(1.5)  # one more poll
            assert len(receiver.documents("patient")) == 3
            gateway.stop()


@pytest.mark.parametrize("statuses", [[], [500] * 100], ids=["taken", "refused"])
def test_an_alert_is_not_sent_at_every_poll_while_the_ledger_is_not_writable(
    upstream: ScriptedUpstream, tmp_path: Path, statuses: list[int]
) -> None:
    with Receiver() as receiver, started(tmp_path, upstream, receiver.port) as gateway:
        receiver.statuses = list(statuses)
        receiver.hang.clear()
        gateway.transcribe(gateway.create_caller("alice", budgets=["1tokens"]), SILENCE)
        receiver.wait_for("alice", 3)
        disk = LimitedFiles(gateway)
        disk.fail()
        receiver.hang.set()
        # Two alerts that are due later show that the gateway has polled again.
        for number in (1, 2):
            insert_alert(gateway, f"marker-{number}", number * 1_500)
        receiver.wait_for("marker-2", 1)
        for alert in {document["id"] for document in receiver.documents("alice")}:
            times = [moment for identifier, moment in receiver.arrivals if identifier == alert]
            if not statuses:
                assert len(times) == 1
            assert all(later - earlier > 1.9 for earlier, later in pairwise(times))
        assert len(logged_alerts(gateway, "alice")) == 3
        receiver.statuses = []
        disk.repair()
        deadline = time.monotonic() + 40
        while undelivered(gateway):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def insert_alert(gateway: GatewayProcess, caller: str, due_in_ms: int) -> None:
    """Inserts an alert that is due later, from another process than the gateway."""
    now = time.time_ns() // 1_000_000
    document = {"id": caller, "caller": caller, "budget": "1usd", "spent": "1", "limit": "1", "threshold_percent": 80}
    with closing(sqlite3.connect(gateway.ledger, timeout=20)) as connection, connection:
        connection.execute(
            "INSERT INTO notices (id, caller, budget, window_day, threshold, body, created_ms, next_ms)"
            " VALUES (?, ?, '1usd', '2026-01-01', 80, ?, ?, ?)",
            (caller, caller, json.dumps(document), now, now + due_in_ms),
        )


def undelivered(gateway: GatewayProcess) -> int:
    with closing(sqlite3.connect(gateway.ledger, timeout=20)) as connection:
        return int(connection.execute("SELECT count(*) FROM notices WHERE delivered_ms IS NULL").fetchone()[0])
