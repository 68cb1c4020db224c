"""Trace contexts, with the examples of W3C's recommendation."""

import logging

import pytest

from app.adapters.telemetry.trace_context import TraceContext, trace_context
from app.wire.headers import Headers

TRACE, PARENT = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
VALID = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def context_from(*headers: tuple[bytes, bytes]) -> TraceContext:
    return trace_context("req_1", Headers(headers))


def test_the_request_continues_the_callers_trace() -> None:
    context = context_from((b"traceparent", VALID), (b"tracestate", b"a=1"), (b"tracestate", b"b=2"))
    assert context.caller is not None
    assert (context.caller.trace_id, context.caller.span_id, context.sampled) == (TRACE, PARENT, True)
    assert (context.server.trace_id, context.client.trace_id) == (TRACE, TRACE)
    assert context.trace_headers == (
        (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-%016x-01" % context.client.span_id),
        (b"tracestate", b"a=1,b=2"),
    )


def test_an_unsampled_trace_stays_unsampled() -> None:
    context = context_from((b"traceparent", VALID[:-2] + b"00"))
    assert not context.sampled
    assert context.trace_headers[0][1].endswith(b"-00")


@pytest.mark.parametrize(
    "values", [[b""], [b"ff" + VALID[2:]], [VALID.upper()], [VALID, VALID], ["00-\u00e9".encode("latin-1")]]
)
def test_without_one_valid_parent_a_trace_begins(values: list[bytes]) -> None:
    context = context_from(*((b"traceparent", value) for value in values), (b"tracestate", b"a=1"))
    assert context == context_from()
    assert (context.caller, context.sampled) == (None, True)
    client = context.client
    assert context.trace_headers == ((b"traceparent", b"00-%032x-%016x-01" % (client.trace_id, client.span_id)),)


def test_invalid_headers_write_nothing_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        context_from((b"traceparent", VALID), (b"tracestate", b"a=" + b"x" * 511))
        context_from((b"traceparent", VALID), (b"tracestate", b"no member"))
        context_from((b"traceparent", VALID * 10))
    assert caplog.records == []


def test_ids_are_derived_from_the_requests_id() -> None:
    first, again, other = (trace_context(request_id, Headers(())) for request_id in ("req_1", "req_1", "req_2"))
    assert first == again
    ids = {context.server.trace_id for context in (first, other)}
    ids |= {span.span_id for context in (first, other) for span in (context.server, context.client)}
    assert len(ids) == 6
