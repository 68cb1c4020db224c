"""OpenTelemetry: the spans of each request. They are made when it has ended, from the times that its stages recorded.

    POST /v1/audio/...      the request, as the caller sees it
    ├── receive             key, limits, the form up to the file's head
    ├── admit               the reservation in the caller's budgets
    ├── transcribe MODEL    the request to the provider, the parent of the provider's own spans
    │   ├── upload          the connection and the form
    │   ├── wait            from the complete form to the start of the response
    │   └── answer          the response
    └── settle              until the settlement is on disk and the response is delivered

Names follow the semantic conventions for HTTP and for generative AI. No span holds audio, a transcript, a prompt, a
file name or a key. The SDK exports spans on its own thread. Spans that the collector does not accept are lost.
"""

import asyncio
import threading
import time
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanContext, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from app import __version__
from app.adapters.telemetry.trace_context import TraceContext, context_of, trace_context
from app.errors import Header
from app.gateway.inbound_request import InboundRequest
from app.gateway.ledger_rows import Hold, SettlementResult
from app.gateway.request_record import AttemptRecord, RequestRecord

STOP_SECONDS = 2.0
EXPORT_SECONDS = 5.0

Attributes = Mapping[str, AttributeValue]


class Traces:
    """Makes the spans of each request when it has ended, and exports them."""

    def __init__(self, endpoint: str) -> None:
        self._processor = BatchSpanProcessor(OTLPSpanExporter(endpoint, timeout=EXPORT_SECONDS))
        self._ids = _PresetIds()
        resource = Resource.create({"service.name": "audio-gateway", "service.version": __version__})
        provider = TracerProvider(ParentBased(ALWAYS_ON), resource, shutdown_on_exit=False, id_generator=self._ids)
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("audio_gateway", __version__)

    def trace_headers(self, request: InboundRequest) -> tuple[Header, ...]:
        """Returns the headers that carry the request's trace to the provider."""
        return trace_context(request.id, request.headers).trace_headers

    def observe(self, record: RequestRecord) -> None:
        context = trace_context(record.request.id, record.request.headers)
        if context.sampled:
            _RequestSpans(self._tracer, self._ids, context, record).make(time.monotonic())

    async def close(self) -> None:
        """Exports the remaining spans. Returns after `STOP_SECONDS` at most, whatever the collector does."""
        shutdown = threading.Thread(target=self._processor.shutdown, name="traces-shutdown", daemon=True)
        shutdown.start()
        await asyncio.to_thread(shutdown.join, STOP_SECONDS)


class _PresetIds(RandomIdGenerator):
    """Random ids, except for the next trace or span if its id is set."""

    def __init__(self) -> None:
        self.trace_id: int | None = None
        self.span_id: int | None = None

    def generate_trace_id(self) -> int:
        preset, self.trace_id = self.trace_id, None
        return preset or super().generate_trace_id()

    def generate_span_id(self) -> int:
        preset, self.span_id = self.span_id, None
        return preset or super().generate_span_id()


class _RequestSpans:
    """The spans of one request."""

    def __init__(self, tracer: trace.Tracer, ids: _PresetIds, context: TraceContext, record: RequestRecord) -> None:
        self._tracer = tracer
        self._ids = ids
        self._context = context
        self._record = record

    def make(self, now: float) -> None:
        """Makes the spans of a request that ends at `now`, in seconds of the monotonic clock."""
        record = self._record
        server = self._start_server_span()
        parent = trace.set_span_in_context(server)
        self._stage(parent, "receive", record.request.began, record.parsed or now)
        if record.hold is not None and record.attempt is not None:
            self._stage(parent, "admit", record.parsed, record.attempt.began)
            self._make_client_spans(parent, record.hold, record.attempt, record.settled or now)
            settled, delivering = record.settled, record.delivering or now
            self._stage(parent, "settle", settled, delivering if settled is None or settled < delivering else now)
        server.end(self._epoch_ns(now))

    def _start_server_span(self) -> trace.Span:
        record, caller = self._record, self._context.caller
        parent = Context() if caller is None else context_of(caller)
        self._ids.trace_id = self._context.server.trace_id
        span = self._start_span(
            parent,
            f"POST {record.request.operation.path}",
            record.request.began,
            SpanKind.SERVER,
            _server_attributes(record),
            self._context.server,
        )
        if (record.status or 500) >= 500:
            span.set_status(StatusCode.ERROR)
        return span

    def _make_client_spans(self, parent: Context, hold: Hold, attempt: AttemptRecord, end: float) -> None:
        """Makes the span of the attempt, which is the parent of the provider's own, and the spans of its stages."""
        if attempt.requested is None:
            return
        name, attributes = f"{hold.task} {hold.upstream_model}", _client_attributes(hold, self._record.result)
        client = self._start_span(parent, name, attempt.requested, SpanKind.CLIENT, attributes, self._context.client)
        if "error.type" in attributes:
            client.set_status(StatusCode.ERROR)
        stages = trace.set_span_in_context(client)
        self._stage(stages, "upload", attempt.requested, attempt.released or attempt.responded or end)
        self._stage(stages, "wait", attempt.released, attempt.responded or end)
        self._stage(stages, "answer", attempt.responded, end)
        client.end(self._epoch_ns(end))

    def _stage(self, parent: Context, name: str, start: float | None, end: float) -> None:
        if start is not None:
            self._start_span(parent, name, start).end(self._epoch_ns(max(start, end)))

    def _start_span(
        self,
        parent: Context,
        name: str,
        start: float,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        preset: SpanContext | None = None,
    ) -> trace.Span:
        self._ids.span_id = None if preset is None else preset.span_id
        return self._tracer.start_span(name, parent, kind, attributes, start_time=self._epoch_ns(start))

    def _epoch_ns(self, moment: float) -> int:
        """Returns a moment of the monotonic clock as nanoseconds since the epoch."""
        request = self._record.request
        return request.received_ms * 1_000_000 + round((moment - request.began) * 1_000_000_000)


def _server_attributes(record: RequestRecord) -> Attributes:
    attributes: dict[str, AttributeValue] = {
        "http.request.method": "POST",
        "http.route": record.request.operation.path,
        "http.response.status_code": record.status or 500,
        "audio_gateway.request_id": record.request.id,
    }
    if record.caller is not None:
        attributes["audio_gateway.caller"] = record.caller.name
    if record.error is not None or record.status is None:
        attributes["error.type"] = record.error or "internal_error"
    return attributes


def _client_attributes(hold: Hold, result: SettlementResult | None) -> Attributes:
    attributes: dict[str, AttributeValue] = {
        "gen_ai.operation.name": hold.task,
        "gen_ai.provider.name": hold.upstream,
        "gen_ai.request.model": hold.upstream_model,
    }
    if result is None:
        return attributes
    attributes["audio_gateway.state"] = result.state
    attributes["audio_gateway.audio_seconds"] = result.charge.audio / 1000
    if result.tokens is not None:
        attributes["gen_ai.usage.input_tokens"] = result.tokens.input
        attributes["gen_ai.usage.output_tokens"] = result.tokens.output
    if result.error is not None:
        attributes["error.type"] = result.error
    return attributes
