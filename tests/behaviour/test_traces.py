"""Spans, as a real collector receives them: one a stage, in the caller's trace, and nothing that was said."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.behaviour.caller import CLIP
from tests.stubs.collector import Collector, attributes
from tests.stubs.gateway import PROVIDER_KEY, GatewayProcess
from tests.stubs.upstream import TOKENS, ScriptedUpstream, error_answer, json_answer

MODEL = "gpt-4o-transcribe"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture
def traced(upstream: ScriptedUpstream, collector: Collector, tmp_path: Path) -> Iterator[GatewayProcess]:
    with tracing(upstream, tmp_path, collector.endpoint) as process:
        yield process


def tracing(upstream: ScriptedUpstream, folder: Path, endpoint: str) -> GatewayProcess:
    settings = f'[traces]\nendpoint = "{endpoint}"'
    return GatewayProcess(folder, upstream.base_url, settings, OTEL_BSP_SCHEDULE_DELAY="100")


def by_name(spans: list[Span]) -> dict[str, Span]:
    return {span.name: span for span in spans}


def test_one_span_a_stage_in_the_order_of_the_stages(
    traced: GatewayProcess, upstream: ScriptedUpstream, collector: Collector
) -> None:
    upstream.reply(json_answer("hello", TOKENS))
    answer = traced.transcribe(traced.key, CLIP, MODEL)
    assert answer.status_code == 200
    spans = by_name(collector.wait_for(lambda spans: len(spans) >= 8))
    server, client = spans["POST /v1/audio/transcriptions"], spans[f"transcribe {MODEL}"]
    assert collector.resource["service.name"] == "audio-gateway"
    assert (server.kind, client.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    assert {span.trace_id for span in spans.values()} == {server.trace_id}
    assert server.parent_span_id == b""
    inside = {name: span.parent_span_id for name, span in spans.items() if span is not server}
    top, below = server.span_id, client.span_id
    assert inside == {
        "receive": top,
        "admit": top,
        f"transcribe {MODEL}": top,
        "upload": below,
        "wait": below,
        "answer": below,
        "settle": top,
    }
    order = [spans[name] for name in ("receive", "admit", "upload", "wait", "answer", "settle")]
    moments = [moment for span in order for moment in (span.start_time_unix_nano, span.end_time_unix_nano)]
    assert moments == sorted(moments)
    assert server.start_time_unix_nano == moments[0]
    assert server.end_time_unix_nano >= moments[-1]


def test_attributes_follow_the_conventions(
    traced: GatewayProcess, upstream: ScriptedUpstream, collector: Collector
) -> None:
    upstream.reply(json_answer("hello", TOKENS))
    answer = traced.transcribe(traced.key, CLIP, MODEL)
    spans = by_name(collector.wait_for(lambda spans: len(spans) >= 8))
    (row,) = traced.rows()
    assert attributes(spans["POST /v1/audio/transcriptions"].attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/audio/transcriptions",
        "http.response.status_code": 200,
        "audio_gateway.request_id": answer.headers["x-request-id"],
        "audio_gateway.caller": "team",
    }
    assert attributes(spans[f"transcribe {MODEL}"].attributes) == {
        "gen_ai.operation.name": "transcribe",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": MODEL,
        "gen_ai.usage.input_tokens": row["input_tokens"],
        "gen_ai.usage.output_tokens": row["output_tokens"],
        "audio_gateway.state": "settled",
        "audio_gateway.audio_seconds": row["audio_ms"] / 1000,
    }


def test_the_callers_trace_goes_on_to_the_provider(
    traced: GatewayProcess, upstream: ScriptedUpstream, collector: Collector
) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=value"}
    assert traced.transcribe(traced.key, CLIP, MODEL, **headers).status_code == 200
    spans = by_name(collector.wait_for(lambda spans: len(spans) >= 8))
    server, client = spans["POST /v1/audio/transcriptions"], spans[f"transcribe {MODEL}"]
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, PARENT)
    (exchange,) = upstream.journal
    assert exchange.header("traceparent") == f"00-{TRACE}-{client.span_id.hex()}-01"
    assert exchange.header("tracestate") == "vendor=value"


def test_a_trace_that_is_not_sampled_goes_on_without_spans(
    traced: GatewayProcess, upstream: ScriptedUpstream, collector: Collector
) -> None:
    assert traced.transcribe(traced.key, CLIP, traceparent=f"00-{TRACE}-{PARENT}-00").status_code == 200
    sampled = traced.transcribe(traced.key, CLIP)
    collector.wait_for(lambda spans: len(spans) >= 8)
    assert {attributes(span.attributes).get("audio_gateway.request_id") for span in collector.spans} == {
        None,
        sampled.headers["x-request-id"],
    }
    assert (upstream.journal[0].header("traceparent") or "").endswith("-00")
    assert TRACE in (upstream.journal[0].header("traceparent") or "")


def test_what_failed_says_so(traced: GatewayProcess, upstream: ScriptedUpstream, collector: Collector) -> None:
    upstream.reply(error_answer(401, "invalid_api_key", "no"))
    assert traced.transcribe(traced.key, CLIP).status_code == 502
    assert traced.transcribe(traced.key, CLIP, "no-such-model").status_code == 404
    spans = collector.wait_for(lambda spans: sum(span.kind == Span.SPAN_KIND_SERVER for span in spans) == 2)
    servers = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    told = {attributes(span.attributes)["error.type"]: span.status.code for span in servers}
    assert told == {"upstream_auth_failed": Status.STATUS_CODE_ERROR, "model_not_found": Status.STATUS_CODE_UNSET}
    (client,) = (span for span in spans if span.kind == Span.SPAN_KIND_CLIENT)
    assert attributes(client.attributes)["error.type"] == "upstream_auth_failed"
    assert client.status.code == Status.STATUS_CODE_ERROR


def test_nothing_that_was_said_and_no_key_is_in_a_span(
    traced: GatewayProcess, upstream: ScriptedUpstream, collector: Collector
) -> None:
    upstream.reply(json_answer("the transcript", TOKENS))
    assert traced.transcribe(traced.key, CLIP, MODEL).status_code == 200
    collector.wait_for(lambda spans: len(spans) >= 8)
    sent = b"".join(collector.bodies)
    for secret in (b"the transcript", PROVIDER_KEY.encode(), traced.key.encode(), b"a.wav"):
        assert secret not in sent


def test_off_it_sends_nothing_and_the_sdk_is_not_imported(
    upstream: ScriptedUpstream, collector: Collector, tmp_path: Path
) -> None:
    """FastAPI knows variables that make it export spans of its own, with what it finds in requests: not here."""
    endpoint = collector.endpoint.removesuffix("/v1/traces")
    automatic = {"FASTAPI_OTEL_AUTO_CONFIGURE": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    with GatewayProcess(tmp_path, upstream.base_url, PYTHONPROFILEIMPORTTIME="1", **automatic) as gateway:
        assert gateway.transcribe(gateway.key, CLIP, traceparent=f"00-{TRACE}-{PARENT}-01").status_code == 200
        assert upstream.journal[0].header("traceparent") is None
        assert gateway.stop() == 0
        log = gateway.log.read_text()
        assert "app.adapters.telemetry" in log
        assert "opentelemetry.sdk" not in log
        assert "opentelemetry.exporter" not in log
    assert collector.spans == []


def test_without_the_extra_the_start_says_what_is_missing(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """A package that cannot be imported stands in the way of the SDK's."""
    blocked = tmp_path / "blocked" / "opentelemetry" / "sdk"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError")
    path = os.pathsep.join(filter(None, [str(tmp_path / "blocked"), os.environ.get("PYTHONPATH")]))
    gateway = tracing(upstream, tmp_path, "http://127.0.0.1:4318/v1/traces")
    ended = gateway.command("serve", PYTHONPATH=path)
    assert ended.returncode == 2
    assert "traces.endpoint: needs the extra otel" in ended.stderr


@pytest.mark.parametrize("kind", ["refuses", "silent"])
def test_a_dead_collector_delays_neither_requests_nor_the_stop(
    upstream: ScriptedUpstream, tmp_path: Path, kind: str
) -> None:
    """One listens on nothing; the other takes connections and never answers."""
    upstream.default = json_answer("hello", TOKENS)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/traces"
        if kind == "refuses":
            listener.close()
        with tracing(upstream, tmp_path, endpoint) as gateway:
            statuses = [gateway.transcribe(gateway.key, CLIP, MODEL).status_code for _ in range(20)]
            assert statuses == [200] * 20
            assert gateway.stop() == 0
