"""Stopping: SIGTERM lets what is in flight finish; what the grace cuts off is told so, and its row is closed."""

import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.behaviour.test_kill import SILENCE
from tests.stubs.gateway import GatewayProcess
from tests.stubs.upstream import ScriptedUpstream, json_answer

SHORT_GRACE = "[timeouts]\ngrace = 1\n"


class Asking:
    """One request in a thread of its own."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway
        self.answer: Any = None
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        self.answer = httpx.post(
            f"{self._gateway.base_url}/audio/transcriptions",
            headers={"authorization": self._gateway.key},
            data={"model": "whisper-1"},
            files={"file": ("a.wav", SILENCE)},
            timeout=30,
        )

    def done(self) -> Any:
        self._thread.join(20)
        return self.answer


@pytest.fixture
def upstream() -> Any:
    with ScriptedUpstream() as scripted:
        yield scripted


def test_what_is_in_flight_finishes_and_the_status_is_0(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    gate = threading.Event()
    upstream.default = json_answer("late").but(gate=gate)
    with GatewayProcess(tmp_path, upstream.base_url) as gateway:
        asking = Asking(gateway)
        upstream.wait_until(lambda: upstream.journal and upstream.journal[0].complete)
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        gate.set()
        assert asking.done().json()["text"] == "late"
        assert gateway.stop() == 0
        (row,) = gateway.rows()
        assert row["state"] == "settled"


def test_what_the_grace_cuts_off_is_not_to_be_repeated_and_stays_charged(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    gate = threading.Event()
    upstream.default = json_answer("never").but(gate=gate)
    with GatewayProcess(tmp_path, upstream.base_url, SHORT_GRACE) as gateway:
        asking = Asking(gateway)
        upstream.wait_until(lambda: upstream.journal and upstream.journal[0].complete)
        assert gateway.stop() == 0
        answer = asking.done()
        gate.set()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down")
        assert answer.headers["x-should-retry"] == "false"
        assert answer.headers["x-request-id"].startswith("req_")
        (row,) = gateway.rows()
        assert (row["state"], row["id"]) == ("unknown", answer.headers["x-request-id"])
        assert row["cost_nano_usd"] == row["bound_nano_usd"] > 0
