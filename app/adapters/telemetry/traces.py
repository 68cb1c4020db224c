"""OpenTelemetry: the spans of each request, made when it has ended, from the times that its stages left.

    POST /v1/audio/...      the request, as the caller sees it
    ├── receive             key, limits, the form up to the file's head
    ├── admit               the hold in the caller's budgets
    ├── transcribe MODEL    the exchange with the provider, as its own trace knows it
    │   ├── upload          a connection, and the form
    │   ├── wait            until the provider begins to answer
    │   └── answer          the answer, as it comes
    └── settle              until the row is on disk, and the answer handed on

Names follow the semantic conventions for HTTP and for generative AI. No span holds audio, a transcript, a prompt, a
file's name or a key. Spans are exported on a thread of the SDK's; those that a dead collector does not take are lost.
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
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import AttributeValue

from app import __version__
from app.gateway.ledger_rows import Hold, SettlementResult
from app.gateway.request_record import AttemptRecord, RequestRecord
from app.wire.trace_context import TraceContext, trace_context

STOP_SECONDS = 2.0
EXPORT_SECONDS = 5.0

Attributes = Mapping[str, AttributeValue]


class Traces:
    """A journal that makes spans. `close` sends what is left, for a short time."""

    def __init__(self, endpoint: str) -> None:
        self._exporter = OTLPSpanExporter(endpoint, timeout=EXPORT_SECONDS)
        self._processor = BatchSpanProcessor(self._exporter)
        self._ids = _GivenIds()
        resource = Resource.create({"service.name": "audio-gateway", "service.version": __version__})
        provider = TracerProvider(ParentBased(ALWAYS_ON), resource, shutdown_on_exit=False, id_generator=self._ids)
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("audio_gateway", __version__)

    async def close(self) -> None:
        """End within `STOP_SECONDS`, whatever the collector does."""
        closing = threading.Thread(target=self._processor.shutdown, name="traces-end", daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, STOP_SECONDS)

    def observe(self, record: RequestRecord) -> None:
        context = trace_context(record.request.id, record.request.headers)
        if context.sampled:
            _Request(self._tracer, self._ids, context, record).tell(time.monotonic())


class _GivenIds(RandomIdGenerator):
    """Random ids, but for a trace and a span whose ids are known before it is made."""

    def __init__(self) -> None:
        self.trace_id: int | None = None
        self.span_id: int | None = None

    def generate_trace_id(self) -> int:
        given, self.trace_id = self.trace_id, None
        return given or super().generate_trace_id()

    def generate_span_id(self) -> int:
        given, self.span_id = self.span_id, None
        return given or super().generate_span_id()


class _Request:
    """The spans of one request."""

    def __init__(self, tracer: trace.Tracer, ids: _GivenIds, context: TraceContext, record: RequestRecord) -> None:
        self._tracer = tracer
        self._ids = ids
        self._context = context
        self._record = record

    def tell(self, now: float) -> None:
        """Makes the spans of a request that ends `now`, in seconds of the monotonic clock."""
        record, began = self._record, self._record.request.began
        self._ids.trace_id = self._context.trace_id
        name = f"POST {record.request.operation.path}"
        request = self._started(self._caller(), name, began, SpanKind.SERVER, _of_request(record), self._context.server)
        if (record.status or 500) >= 500:
            request.set_status(StatusCode.ERROR)
        inside = trace.set_span_in_context(request)
        self._stage(inside, "receive", began, record.parsed or now)
        if record.hold is not None and record.attempt is not None:
            self._stage(inside, "admit", record.parsed, record.attempt.began)
            self._attempt(inside, record.hold, record.attempt, now)
            settled, delivering = record.settled, record.delivering or now
            self._stage(inside, "settle", settled, delivering if settled is None or settled < delivering else now)
        request.end(self._at(now))

    def _attempt(self, inside: Context, hold: Hold, attempt: AttemptRecord, now: float) -> None:
        """Makes the span of the attempt, which is the parent of the upstream's own trace, and the spans below it."""
        end = self._record.settled or now
        if attempt.requested is None:
            return
        attributes = _of_attempt(hold, self._record.result)
        name = f"{hold.task} {hold.upstream_model}"
        span = self._started(inside, name, attempt.requested, SpanKind.CLIENT, attributes, self._context.client)
        if "error.type" in attributes:
            span.set_status(StatusCode.ERROR)
        below = trace.set_span_in_context(span)
        self._stage(below, "upload", attempt.requested, attempt.released or attempt.responded or end)
        self._stage(below, "wait", attempt.released, attempt.responded or end)
        self._stage(below, "answer", attempt.responded, end)
        span.end(self._at(end))

    def _stage(self, inside: Context, name: str, begin: float | None, end: float) -> None:
        if begin is not None:
            self._started(inside, name, begin).end(self._at(max(begin, end)))

    def _started(
        self,
        inside: Context | None,
        name: str,
        begin: float,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        span_id: int | None = None,
    ) -> trace.Span:
        self._ids.span_id = span_id
        return self._tracer.start_span(name, inside, kind, attributes, start_time=self._at(begin))

    def _caller(self) -> Context:
        """The context of the caller's span, if he has told one."""
        told = self._context
        if told.parent is None:
            return Context()
        state = TraceState.from_header([told.state])
        parent = SpanContext(told.trace_id, told.parent, True, TraceFlags(TraceFlags.SAMPLED), state)
        return trace.set_span_in_context(NonRecordingSpan(parent), Context())

    def _at(self, moment: float) -> int:
        """Nanoseconds since the epoch."""
        request = self._record.request
        return request.received_ms * 1_000_000 + round((moment - request.began) * 1_000_000_000)


def _of_request(record: RequestRecord) -> Attributes:
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


def _of_attempt(hold: Hold, result: SettlementResult | None) -> Attributes:
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
