"""Rate limits, concurrency and the limit of the process are checked before the body is read."""

import threading
import time
from pathlib import Path

import httpx

from tests.behaviour.test_kill import SILENCE
from tests.stubs.form import Part, multipart
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import RawConnection, RawResponse, request
from tests.stubs.upstream import ScriptedUpstream, error_answer, json_answer, no_answer, sse_answer
from tests.stubs.vitals import wait_for

FORM = multipart([Part("model", b"whisper-1"), Part("file", SILENCE, "a.wav")])
FORM_TYPE = ("Content-Type", "multipart/form-data; boundary=test-boundary")
PATH = "/v1/audio/transcriptions"


def head_only(gateway: GatewayProcess, key: str, *headers: tuple[str, str]) -> RawResponse:
    """The answer to a caller who waits for `100 Continue` before the body."""
    lines = [
        ("Authorization", f"Bearer {key}"),
        FORM_TYPE,
        ("Content-Length", str(len(FORM))),
        ("Expect", "100-continue"),
        *headers,
    ]
    with RawConnection("127.0.0.1", gateway.port) as connection:
        connection.send(request("POST", PATH, lines))
        return connection.read_response()


def test_a_burst_passes_and_retry_after_is_exact(upstream: ScriptedUpstream, gateway: GatewayProcess) -> None:
    key = gateway.create_caller("fast", rpm=20, burst=5)  # one more every three seconds
    passed = [gateway.transcribe(key, SILENCE) for _ in range(5)]
    assert [each.status_code for each in passed] == [200] * 5
    assert [each.headers["x-ratelimit-remaining-requests"] for each in passed] == ["4", "3", "2", "1", "0"]
    refused = gateway.transcribe(key, SILENCE)
    at = time.monotonic()
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["type"]) == (429, "rate_limit_exceeded", "rate_limit_error")
    wait = int(refused.headers["retry-after-ms"])
    assert 0 < wait <= 3_000
    assert int(refused.headers["retry-after"]) == -(-wait // 1000)
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    time.sleep(max(0.0, at + wait / 1000 - time.monotonic()))
    assert gateway.transcribe(key, SILENCE).status_code == 200
    assert gateway.transcribe(key, SILENCE).status_code == 429
    assert len(upstream.journal) == 6
    assert wait_for(lambda: gateway.usage("--caller", "fast")[0]["refused"] == 2)


def test_every_kind_of_response_has_rate_limit_headers(upstream: ScriptedUpstream, gateway: GatewayProcess) -> None:
    key = gateway.create_caller("told", rpm=60, burst=10)
    upstream.reply(json_answer("x"), error_answer(400, "bad", "No."), no_answer(), sse_answer(["a", "b"]))
    answers = [
        *(gateway.transcribe(key, SILENCE) for _ in range(3)),
        gateway.transcribe(key, SILENCE),
        gateway.transcribe(key, b"no audio at all"),
        gateway.transcribe(key, SILENCE, "gpt-9"),
        httpx.post(f"{gateway.base_url}/audio/transcriptions", headers={"authorization": key}, content=b"x"),
    ]
    assert [answer.status_code for answer in answers] == [200, 400, 502, 200, 400, 404, 415]
    for answer in answers:
        assert answer.headers["x-ratelimit-limit-requests"] == "60"
        assert 0 <= int(answer.headers["x-ratelimit-remaining-requests"]) < 10
        assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
    left = [int(answer.headers["x-ratelimit-remaining-requests"]) for answer in answers]
    assert left[0] == 9
    assert left[-1] < left[0]


def test_without_a_rate_limit_there_are_no_rate_limit_headers(
    upstream: ScriptedUpstream, gateway: GatewayProcess
) -> None:
    answer = gateway.transcribe(gateway.key, SILENCE)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


def test_a_refused_request_gets_no_100_continue(upstream: ScriptedUpstream, gateway: GatewayProcess) -> None:
    slow, gate = gateway.create_caller("slow", rpm=1, burst=1), threading.Event()
    single, spent = gateway.create_caller("single", concurrency=1), gateway.create_caller("spent", budgets=["1tokens"])
    assert [gateway.transcribe(key, SILENCE).status_code for key in (slow, spent)] == [200, 200]
    upstream.default = json_answer("late").but(gate=gate)
    busy = threading.Thread(target=gateway.transcribe, args=(single, SILENCE))
    busy.start()
    upstream.wait_for(3)
    answers = [head_only(gateway, key) for key in (slow, single, spent)]
    gate.set()
    busy.join()
    assert [answer.status for answer in answers] == [429] * 3
    assert [answer.json()["error"]["code"] for answer in answers] == [
        "rate_limit_exceeded",
        "rate_limit_exceeded",
        "insufficient_quota",
    ]
    assert [answer.interim for answer in answers] == [[]] * 3
    assert answers[2].header("x-should-retry") == "false"
    with RawConnection("127.0.0.1", gateway.port) as connection:
        good = [("Authorization", gateway.key), FORM_TYPE, ("Expect", "100-continue")]
        connection.send(request("POST", PATH, [*good, ("Content-Length", str(len(FORM)))]))
        connection.send(FORM)
        assert connection.read_response().interim == [100]


def test_a_spent_budget_consumes_no_rate(upstream: ScriptedUpstream, gateway: GatewayProcess) -> None:
    """Or else the next refusal would be one that SDKs repeat."""
    key = gateway.create_caller("spent-and-slow", rpm=1, burst=2, budgets=["1tokens"])
    assert gateway.transcribe(key, SILENCE).status_code == 200
    refused = [gateway.transcribe(key, SILENCE) for _ in range(4)]
    assert [each.json()["error"]["code"] for each in refused] == ["insufficient_quota"] * 4
    assert {each.headers["x-should-retry"] for each in refused} == {"false"}
    assert gateway.admin("PATCH", "/callers/spent-and-slow", {"budgets": []}).status_code == 200
    assert gateway.transcribe(key, SILENCE).status_code == 200  # the second of the burst is still there
    assert gateway.transcribe(key, SILENCE).json()["error"]["code"] == "rate_limit_exceeded"


def test_the_request_limit_of_the_process_does_not_apply_to_health(tmp_path: Path) -> None:
    with (
        ScriptedUpstream() as upstream,
        GatewayProcess(tmp_path, upstream.base_url, "[server]\nmax_requests = 2") as gateway,
    ):
        gate = threading.Event()
        upstream.default = json_answer("late").but(gate=gate)
        busy = [threading.Thread(target=gateway.transcribe, args=(gateway.key, SILENCE)) for _ in range(2)]
        for each in busy:
            each.start()
        upstream.wait_for(2)
        refused = head_only(gateway, gateway.key)
        health = [httpx.get(f"{gateway.host}/{path}").status_code for path in ("healthz", "readyz", "v1/models")]
        gate.set()
        for each in busy:
            each.join()
        assert (refused.status, refused.json()["error"]["code"]) == (503, "overloaded")
        assert (refused.header("retry-after"), refused.interim) == ("1", [])
        assert health == [200, 200, 401]
        assert gateway.transcribe(gateway.key, SILENCE).status_code == 200


def test_default_limits_apply_to_callers_without_limits(tmp_path: Path) -> None:
    settings = "[limits]\nrpm = 6\nburst = 2\nconcurrency = 5"
    with ScriptedUpstream() as upstream, GatewayProcess(tmp_path, upstream.base_url, settings) as gateway:
        answers = [gateway.transcribe(gateway.key, SILENCE) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert {answer.headers["x-ratelimit-limit-requests"] for answer in answers} == {"6"}
        own = httpx.get(f"{gateway.base_url}/usage", headers={"authorization": gateway.key}).json()
        assert own["limits"] == {"rpm": 6, "burst": 2, "concurrency": 5}
