"""W3C Trace Context (https://www.w3.org/TR/trace-context/): which trace the spans of a request belong to.

OpenTelemetry's propagator reads and writes the headers. The ids of the gateway's own two spans, and of a trace that
begins here, are derived from the request's id: nothing travels with the request, and its id finds its trace.
"""

import logging
from collections.abc import MutableSequence
from dataclasses import dataclass
from hashlib import sha256

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter, Setter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.errors import Header
from app.wire.headers import Headers

# The library warns of headers that it cannot read. Callers could fill the log with those warnings.
logging.getLogger("opentelemetry.trace").setLevel(logging.ERROR)

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One request's place in a trace.

    caller    the caller's span, None if the request names none
    server    the gateway's span of the request
    client    the gateway's span of the request to the provider
    """

    caller: SpanContext | None
    server: SpanContext
    client: SpanContext

    @property
    def sampled(self) -> bool:
        return self.server.trace_flags.sampled

    @property
    def trace_headers(self) -> tuple[Header, ...]:
        """The headers that make the client span the parent of the provider's spans."""
        headers: list[Header] = []
        _PROPAGATOR.inject(headers, context_of(self.client), _HeaderSetter())
        return tuple(headers)


def trace_context(request_id: str, headers: Headers) -> TraceContext:
    """Returns the request's place in the caller's trace. Without a valid `traceparent`, a trace begins here."""
    caller = trace.get_current_span(_PROPAGATOR.extract(headers, Context(), _HeaderGetter())).get_span_context()
    digest = sha256(request_id.encode()).digest()
    trace_id, server_id, client_id = (int.from_bytes(digest[start:end]) for start, end in ((0, 16), (16, 24), (24, 32)))
    if not caller.is_valid:
        server, client = (SpanContext(trace_id, span_id, False, _SAMPLED) for span_id in (server_id, client_id))
        return TraceContext(None, server, client)
    flags = TraceFlags(caller.trace_flags & TraceFlags.SAMPLED)
    server, client = (
        SpanContext(caller.trace_id, span_id, False, flags, caller.trace_state) for span_id in (server_id, client_id)
    )
    return TraceContext(caller, server, client)


def context_of(span: SpanContext) -> Context:
    """Returns the context in which new spans have this parent."""
    return trace.set_span_in_context(NonRecordingSpan(span), Context())


class _HeaderGetter(Getter[Headers]):
    """Reads a message's headers. Several `traceparent` count as none."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        values = [value.decode("latin-1") for value in carrier.all(key.encode())]
        return None if not values or (key == "traceparent" and len(values) > 1) else values

    def keys(self, carrier: Headers) -> list[str]:
        return []


class _HeaderSetter(Setter[MutableSequence[Header]]):
    def set(self, carrier: MutableSequence[Header], key: str, value: str) -> None:
        carrier.append((key.encode(), value.encode()))


_PROPAGATOR = TraceContextTextMapPropagator()
