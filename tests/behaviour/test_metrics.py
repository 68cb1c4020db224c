"""/metrics: what it counts, for which callers, and which keys may read it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import takewhile
from pathlib import Path

import httpx
import pytest

from tests.behaviour.caller import CLIP, connect, post_bytes, sdk
from tests.stubs.gateway import ADMIN_KEY, METRICS_KEY, NO_TLS, PROVIDER_KEY, GatewayProcess
from tests.stubs.raw import RawConnection, request
from tests.stubs.scrape import Scrape, wait_for_scrape
from tests.stubs.upstream import TOKENS, ScriptedUpstream, error_answer, json_answer, no_answer, sse_answer

MODEL = "gpt-4o-transcribe"
REQUESTS = "audio_gateway_requests_total"
PARTS = "audio_gateway_transfer_duration_seconds"


@pytest.fixture
def fresh(upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway without earlier requests."""
    with GatewayProcess(tmp_path, upstream.base_url, admin_key=ADMIN_KEY) as process:
        yield process


def counted(number: int) -> Callable[[Scrape], bool]:
    return lambda scrape: scrape.value(REQUESTS) == number


@contextmanager
def held(gateway: GatewayProcess, upstream: ScriptedUpstream) -> Iterator[None]:
    """A request in flight: the provider has received all of it, and responds when the context ends."""
    gate = threading.Event()
    upstream.reply(json_answer("late").but(gate=gate))
    asking = threading.Thread(target=gateway.transcribe, args=(gateway.key, CLIP))
    asking.start()
    try:
        upstream.wait_until(lambda: upstream.journal and upstream.journal[-1].complete)
        yield
    finally:
        gate.set()
        asking.join(30)


# -- counters and histograms ------------------------------------------------------------------------------------------


def test_a_request_counts_by_caller_model_and_status_with_its_charge(
    fresh: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    upstream.reply(json_answer("hello", TOKENS))
    assert fresh.transcribe(fresh.key, CLIP, MODEL).status_code == 200
    scrape = wait_for_scrape(fresh, counted(1))
    (row,) = fresh.rows()
    (series,) = scrape.series(REQUESTS)
    assert series.labels == {
        "caller": "team",
        "model": MODEL,
        "endpoint": "/v1/audio/transcriptions",
        "status": "200",
        "error": "",
    }
    use = {"caller": "team", "model": MODEL}
    assert scrape.value("audio_gateway_cost_usd_total", **use) == row["cost_nano_usd"] / 1e9
    assert scrape.value("audio_gateway_audio_seconds_total", **use) == row["audio_ms"] / 1000
    assert scrape.value("audio_gateway_tokens_total", **use, kind="output") == row["output_tokens"]
    assert scrape.value("audio_gateway_tokens_total", **use, kind="input_audio") == row["audio_tokens"]
    assert scrape.value("audio_gateway_tokens_total", **use) == row["total_tokens"]
    assert scrape.value("audio_gateway_outcomes_total", state="settled") == 1
    (exchange,) = upstream.journal
    assert scrape.value("audio_gateway_forwarded_bytes_total") == exchange.size
    assert scrape.value("audio_gateway_received_bytes_total") > len(CLIP)
    assert scrape.value("audio_gateway_answered_bytes_total") > len('{"text": "hello"}')


def test_refused_requests_count_by_their_code(fresh: GatewayProcess, upstream: ScriptedUpstream) -> None:
    limited = fresh.create_caller("limited", rpm=1, burst=1)
    assert [fresh.transcribe(limited, CLIP).status_code for _ in range(2)] == [200, 429]
    assert fresh.transcribe("sk-agw-no-key-of-ours", CLIP).status_code == 401
    assert fresh.transcribe(fresh.key, CLIP, "no-model-of-ours").status_code == 404
    scrape = wait_for_scrape(fresh, counted(4))
    assert scrape.value(REQUESTS, caller="limited", error="rate_limit_exceeded", status="429") == 1
    assert scrape.value(REQUESTS, caller="(unknown)", model="(unknown)", error="invalid_api_key", status="401") == 1
    assert scrape.value(REQUESTS, caller="team", model="(unknown)", error="model_not_found", status="404") == 1
    assert scrape.value("audio_gateway_cost_usd_total", caller="team") == 0


def test_a_stream_counts_its_bytes_and_a_broken_stream_its_failure(
    fresh: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    upstream.reply(sse_answer(["Hello", ", world"], TOKENS), sse_answer(["a", "b"], TOKENS).but(cut_after=70))
    events = list(sdk(fresh).audio.transcriptions.create(model=MODEL, file=("a.wav", CLIP), stream=True))
    assert len(events) == 3
    scrape = wait_for_scrape(fresh, counted(1))
    assert scrape.value("audio_gateway_answered_bytes_total") > 100
    data = {"model": MODEL, "stream": "true"}
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(
            f"{fresh.base_url}/audio/transcriptions",
            headers={"authorization": fresh.key},
            data=data,
            files={"file": ("a.wav", CLIP)},
            timeout=30,
            **NO_TLS,
        )
    scrape = wait_for_scrape(fresh, counted(2))
    assert scrape.value(REQUESTS, status="200", error="upstream_cut") == 1
    assert scrape.value("audio_gateway_upstream_failures_total", upstream="scripted", error="upstream_cut") == 1
    assert scrape.value("audio_gateway_outcomes_total", state="unknown") == 1


def test_the_parts_of_a_requests_time_do_not_overlap(fresh: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with held(fresh, upstream):
        assert not threading.Event().wait(0.3)
    scrape = wait_for_scrape(fresh, counted(1))
    whole = scrape.value("audio_gateway_request_duration_seconds_sum", endpoint="/v1/audio/transcriptions")
    parts = [scrape.value(f"{PARTS}_sum", part=part) for part in ("upload", "wait", "download")]
    overhead = scrape.value("audio_gateway_overhead_seconds_sum")
    assert scrape.value(f"{PARTS}_sum", part="wait") >= 0.3
    assert 0 < overhead <= whole - 0.3
    assert sum(parts) + overhead <= whole
    assert [scrape.value(f"{PARTS}_count", part=part) for part in ("upload", "wait", "download")] == [1, 1, 1]


def test_a_slow_caller_adds_no_gateway_overhead(fresh: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with connect(fresh) as caller:
        whole = post_bytes(fresh, b"", headers=[("Content-Length", "5")])
        caller.send(whole)
        assert not threading.Event().wait(0.3)
        caller.send(b"wrong")
        assert caller.read_response().status == 400
    with connect(fresh) as caller:
        body = b'--test-boundary\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        body += b'--test-boundary\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + CLIP
        end = b"\r\n--test-boundary--\r\n"
        caller.send(post_bytes(fresh, b"", headers=[("Content-Length", str(len(body) + len(end)))]) + body)
        upstream.wait_until(lambda: upstream.journal and upstream.journal[-1].size > len(CLIP) // 2)
        assert not threading.Event().wait(0.3)
        caller.send(end)
        assert caller.read_response().status == 200
    scrape = wait_for_scrape(fresh, counted(2))
    assert scrape.value(f"{PARTS}_sum", part="upload") >= 0.3
    whole_seconds = scrape.value("audio_gateway_request_duration_seconds_sum")
    assert scrape.value("audio_gateway_overhead_seconds_sum") <= whole_seconds - 0.5


def test_a_silent_provider_adds_wait_and_no_overhead(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    gate = threading.Event()
    upstream.default = json_answer("never").but(gate=gate)
    with GatewayProcess(tmp_path, upstream.base_url, "[timeouts]\nfirst_byte = 0.5") as gateway:
        assert gateway.transcribe(gateway.key, CLIP).status_code == 504
        scrape = wait_for_scrape(gateway, counted(1))
        gate.set()
    assert scrape.value(f"{PARTS}_sum", part="wait") >= 0.4
    assert scrape.value("audio_gateway_overhead_seconds_count") == 0
    assert scrape.value("audio_gateway_upstream_failures_total", error="upstream_timeout") == 1


# -- gauges -----------------------------------------------------------------------------------------------------------


def test_requests_in_flight_and_reservations(fresh: GatewayProcess, upstream: ScriptedUpstream) -> None:
    names = ("audio_gateway_requests_in_flight", "audio_gateway_holds")
    with held(fresh, upstream):
        scrape = Scrape.of(fresh)
        assert [scrape.value(name) for name in names] == [1, 1]
        assert scrape.value("audio_gateway_connections") >= 2
    wait_for_scrape(fresh, lambda scrape: [scrape.value(name) for name in names] == [0, 0])


def test_trouble_with_the_upstream_key_lasts_until_a_success(fresh: GatewayProcess, upstream: ScriptedUpstream) -> None:
    def trouble(scrape: Scrape) -> list[float]:
        return [
            scrape.value("audio_gateway_upstream_key_trouble", reason=reason) for reason in ("refused", "out_of_credit")
        ]

    assert trouble(Scrape.of(fresh)) == [0, 0]
    upstream.reply(error_answer(401, "invalid_api_key", "no"), error_answer(402, "credit", "no"), no_answer())
    assert fresh.transcribe(fresh.key, CLIP).status_code == 502
    scrape = wait_for_scrape(fresh, counted(1))
    assert (trouble(scrape), scrape.value("audio_gateway_ready")) == ([1, 0], 1)
    assert fresh.transcribe(fresh.key, CLIP).status_code == 502
    assert trouble(wait_for_scrape(fresh, counted(2))) == [1, 1]
    assert fresh.transcribe(fresh.key, CLIP).status_code == 502
    assert trouble(wait_for_scrape(fresh, counted(3))) == [1, 1]
    assert fresh.transcribe(fresh.key, CLIP).status_code == 200
    scrape = wait_for_scrape(fresh, counted(4))
    assert (trouble(scrape), scrape.value("audio_gateway_ready")) == ([0, 0], 1)
    failures = {
        series.labels["error"]: series.value for series in scrape.series("audio_gateway_upstream_failures_total")
    }
    assert {error for error, number in failures.items() if number} == {
        "upstream_auth_failed",
        "upstream_out_of_credit",
        "upstream_error",
    }


def test_the_ledgers_commits_and_its_disk(fresh: GatewayProcess) -> None:
    assert fresh.transcribe(fresh.key, CLIP).status_code == 200
    scrape = wait_for_scrape(fresh, counted(1))
    commits = scrape.value("audio_gateway_ledger_commit_duration_seconds_count")
    assert commits >= 2
    assert scrape.value("audio_gateway_ledger_commit_writes_sum") >= commits
    assert scrape.value("audio_gateway_ledger_writable") == 1
    assert 0 < scrape.value("audio_gateway_disk_free_bytes") < scrape.value("audio_gateway_disk_size_bytes")
    assert scrape.value("audio_gateway_ledger_size_bytes") >= fresh.ledger.stat().st_size


def test_the_used_share_of_each_budget(fresh: GatewayProcess) -> None:
    key = fresh.create_caller("thrifty", budgets=["1min/day", "1usd"])
    assert fresh.transcribe(key, CLIP).status_code == 200
    scrape = wait_for_scrape(fresh, counted(1))
    used = {series.labels["budget"]: series.value for series in scrape.series("audio_gateway_budget_used_ratio")}
    assert used == {"1min/day": pytest.approx(0.5 / 60, rel=0.01), "1usd/total": pytest.approx(0.00005)}
    assert scrape.value("audio_gateway_budget_used_ratio", caller="team") == 0


def test_the_scrape_has_process_metrics_and_no_secret(fresh: GatewayProcess) -> None:
    assert fresh.transcribe(fresh.key, CLIP).status_code == 200
    scrape = wait_for_scrape(fresh, counted(1))
    assert scrape.value("process_resident_memory_bytes") > 0
    assert scrape.value("process_cpu_seconds_total") > 0
    for secret in (PROVIDER_KEY, fresh.key, ADMIN_KEY, "hello", "a.wav", "127.0.0.1"):
        assert secret not in scrape.text


# -- access -----------------------------------------------------------------------------------------------------------


def status_of(gateway: GatewayProcess, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(f"{gateway.host}/metrics", headers=named, timeout=10, **NO_TLS).status_code


@pytest.mark.parametrize("forwarded", [{}, {"x_forwarded_for": "203.0.113.7"}], ids=["direct", "forwarded"])
def test_a_scrape_needs_its_key_from_every_address(gateway: GatewayProcess, forwarded: dict[str, str]) -> None:
    for wrong in ("", gateway.key, f"Bearer {gateway.key}", "Bearer wrong", "Bearer", f"Bearer {METRICS_KEY}x"):
        assert status_of(gateway, **forwarded, authorization=wrong) == 401, wrong
    assert status_of(gateway, **forwarded) == 401
    for right in (METRICS_KEY, ADMIN_KEY):
        assert status_of(gateway, **forwarded, authorization=f"Bearer {right}") == 200


def test_the_metrics_key_opens_nothing_else(gateway: GatewayProcess) -> None:
    for path in ("/v1/models", "/admin/v1/callers"):
        headers = {"authorization": f"Bearer {METRICS_KEY}"}
        assert httpx.get(f"{gateway.host}{path}", headers=headers, timeout=10, **NO_TLS).status_code == 401


def test_without_a_configured_key_every_scrape_is_refused(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, upstream.base_url)
    gateway.metrics_key.unlink()
    with gateway:
        assert status_of(gateway) == 401
        assert status_of(gateway, authorization=gateway.key) == 401
        assert status_of(gateway, authorization="Bearer") == 401


def test_open_allows_scrapes_without_a_key(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, upstream.base_url, "[metrics]\nopen = true") as gateway:
        assert status_of(gateway, x_forwarded_for="203.0.113.7") == 200


def test_disabled_metrics_have_no_route(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, upstream.base_url, "[metrics]\nenabled = false") as gateway:
        assert gateway.transcribe(gateway.key, CLIP).status_code == 200
        assert status_of(gateway) == 404


def test_a_scrape_works_when_all_connections_are_in_use(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with (
        GatewayProcess(tmp_path, upstream.base_url, "[server]\nmax_connections = 1") as gateway,
        connect(gateway) as one,
    ):
        one.send(request("GET", "/healthz"))
        assert one.read_response().status == 200
        with connect(gateway) as two:
            two.send(request("GET", "/v1/models"))
            assert two.read_response().status == 503
        with connect(gateway) as three:
            three.send(request("GET", "/metrics", [("Authorization", f"Bearer {METRICS_KEY}")]))
            assert three.read_response().status == 200


# -- readiness --------------------------------------------------------------------------------------------------------


def test_a_draining_gateway_never_becomes_ready_again(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """A prober on an open connection sees this between SIGTERM and the connection's end."""
    with GatewayProcess(tmp_path, upstream.base_url) as gateway:
        with held(gateway, upstream), connect(gateway) as prober:
            assert probed(prober) == 200
            assert gateway.process is not None
            gateway.process.send_signal(signal.SIGTERM)
            statuses = list(iter(partial(probed, prober), None))
        ready = list(takewhile(lambda status: status == 200, statuses))
        assert set(statuses[len(ready) :]) <= {503}
        assert gateway.stop() == 0


def probed(prober: RawConnection) -> int | None:
    """Returns the status of /readyz, None if the connection has ended."""
    try:
        prober.send(request("GET", "/readyz"))
        return prober.read_response().status or None
    except OSError:
        return None
