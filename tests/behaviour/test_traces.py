"""Spans as a real collector receives them: one a stage, in the caller's trace, without audio, text or keys."""

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
def traced_gateway(upstream: ScriptedUpstream, collector: Collector, tmp_path: Path) -> Iterator[GatewayProcess]:
    with gateway_with_traces(upstream, tmp_path, collector.endpoint) as process:
        yield process


def gateway_with_traces(upstream: ScriptedUpstream, folder: Path, endpoint: str) -> GatewayProcess:
    settings = f'[traces]\nendpoint = "{endpoint}"'
    return GatewayProcess(folder, upstream.base_url, settings, OTEL_BSP_SCHEDULE_DELAY="100")


def by_name(spans: list[Span]) -> dict[str, Span]:
    return {span.name: span for span in spans}


def test_each_stage_has_one_span_in_order(
    traced_gateway: GatewayProcess, upstream: ScriptedUpstream, collector: Collector
) -> None:
    upstream.reply(json_answer("hello", TOKENS))
    answer = traced_gateway.transcribe(traced_gateway.key, CLIP, MODEL)
    assert answer.status_code == 200
    spans = by_name(collector.wait_for(lambda spans: len(spans) >= 8))
    server, client = spans["POST /v1/audio/transcriptions"], spans[f"transcribe {MODEL}"]
    assert collector.resource["service.name"] == "audio-gateway"
    assert (server.kind, client.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    assert {span.trace_id for span in spans.values()} == {server.trace_id}
    assert server.parent_span_id == b""
    parents = {name: span.parent_span_id for name, span in spans.items() if span is not server}
    assert parents == {
        "receive": server.span_id,
        "admit": server.span_id,
        f"transcribe {MODEL}": server.span_id,
        "upload": client.span_id,
        "wait": client.span_id,
        "answer": client.span_id,
        "settle": server.span_id,
    }
    order = [spans[name] for name in ("receive", "admit", "upload", "wait", "answer", "settle")]
    moments = [moment for span in order for moment in (span.start_time_unix_nano, span.end_time_unix_nano)]
    assert moments == sorted(moments)
    assert server.start_time_unix_nano == moments[0]
    assert server.end_time_unix_nano >= moments[-1]


def test_attributes_follow_the_conventions(
    traced_gateway: GatewayProcess, upstream: ScriptedUpstream, collector: Collector
) -> None:
    upstream.reply(json_answer("hello", TOKENS))
    answer = traced_gateway.transcribe(traced_gateway.key, CLIP, MODEL)
    spans = by_name(collector.wait_for(lambda spans: len(spans) >= 8))
    (row,) = traced_gateway.rows()
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


def test_the_callers_trace_continues_at_the_provider(
    traced_gateway: GatewayProcess, upstream: ScriptedUpstream, collector: Collector
) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=value"}
    assert traced_gateway.transcribe(traced_gateway.key, CLIP, MODEL, **headers).status_code == 200
    spans = by_name(collector.wait_for(lambda spans: len(spans) >= 8))
    server, client = spans["POST /v1/audio/transcriptions"], spans[f"transcribe {MODEL}"]
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, PARENT)
    (exchange,) = upstream.journal
    assert exchange.header("traceparent") == f"00-{TRACE}-{client.span_id.hex()}-01"
    assert exchange.header("tracestate") == "vendor=value"


def test_an_unsampled_trace_continues_without_spans(
    traced_gateway: GatewayProcess, upstream: ScriptedUpstream, collector: Collector
) -> None:
    assert traced_gateway.transcribe(traced_gateway.key, CLIP, traceparent=f"00-{TRACE}-{PARENT}-00").status_code == 200
    sampled = traced_gateway.transcribe(traced_gateway.key, CLIP)
    collector.wait_for(lambda spans: len(spans) >= 8)
    assert {attributes(span.attributes).get("audio_gateway.request_id") for span in collector.spans} == {
        None,
        sampled.headers["x-request-id"],
    }
    assert (upstream.journal[0].header("traceparent") or "").endswith("-00")
    assert TRACE in (upstream.journal[0].header("traceparent") or "")


def test_failures_set_the_status_and_the_error_type(
    traced_gateway: GatewayProcess, upstream: ScriptedUpstream, collector: Collector
) -> None:
    upstream.reply(error_answer(401, "invalid_api_key", "no"))
    assert traced_gateway.transcribe(traced_gateway.key, CLIP).status_code == 502
    assert traced_gateway.transcribe(traced_gateway.key, CLIP, "no-such-model").status_code == 404
    spans = collector.wait_for(lambda spans: sum(span.kind == Span.SPAN_KIND_SERVER for span in spans) == 2)
    servers = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    status_by_error = {attributes(span.attributes)["error.type"]: span.status.code for span in servers}
    assert status_by_error == {
        "upstream_auth_failed": Status.STATUS_CODE_ERROR,
        "model_not_found": Status.STATUS_CODE_UNSET,
    }
    (client,) = (span for span in spans if span.kind == Span.SPAN_KIND_CLIENT)
    assert attributes(client.attributes)["error.type"] == "upstream_auth_failed"
    assert client.status.code == Status.STATUS_CODE_ERROR


def test_no_span_has_a_transcript_a_file_name_or_a_key(
    traced_gateway: GatewayProcess, upstream: ScriptedUpstream, collector: Collector
) -> None:
    upstream.reply(json_answer("the transcript", TOKENS))
    assert traced_gateway.transcribe(traced_gateway.key, CLIP, MODEL).status_code == 200
    collector.wait_for(lambda spans: len(spans) >= 8)
    sent = b"".join(collector.bodies)
    for secret in (b"the transcript", PROVIDER_KEY.encode(), traced_gateway.key.encode(), b"a.wav"):
        assert secret not in sent


def test_without_traces_nothing_is_sent_and_the_sdk_is_not_imported(
    upstream: ScriptedUpstream, collector: Collector, tmp_path: Path
) -> None:
    """Environment variables can make FastAPI export its own spans, with request bodies. The gateway turns that off."""
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


def test_without_the_extra_the_gateway_does_not_start(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """A package that raises ImportError shadows the SDK."""
    blocked = tmp_path / "blocked" / "opentelemetry" / "sdk"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError")
    path = os.pathsep.join(filter(None, [str(tmp_path / "blocked"), os.environ.get("PYTHONPATH")]))
    gateway = gateway_with_traces(upstream, tmp_path, "http://127.0.0.1:4318/v1/traces")
    result = gateway.command("serve", PYTHONPATH=path)
    assert result.returncode == 2
    assert "traces.endpoint" in result.stderr


@pytest.mark.parametrize("kind", ["refuses", "silent"])
def test_a_dead_collector_delays_neither_requests_nor_the_stop(
    upstream: ScriptedUpstream, tmp_path: Path, kind: str
) -> None:
    """One collector refuses connections. The other accepts them and never responds."""
    upstream.default = json_answer("hello", TOKENS)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/traces"
        if kind == "refuses":
            listener.close()
        with gateway_with_traces(upstream, tmp_path, endpoint) as gateway:
            statuses = [gateway.transcribe(gateway.key, CLIP, MODEL).status_code for _ in range(20)]
            assert statuses == [200] * 20
            assert gateway.stop() == 0
