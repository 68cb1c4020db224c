"""Trace contexts, with the examples of W3C's recommendation."""

import pytest

from app.wire.headers import Headers
from app.wire.trace_context import TraceContext, trace_context

TRACE, PARENT = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
GOOD = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def read(*headers: tuple[bytes, bytes]) -> TraceContext:
    return trace_context("req_1", Headers(headers))


def test_the_callers_trace_is_taken_up() -> None:
    context = read((b"traceparent", GOOD), (b"tracestate", b"a=1"), (b"tracestate", b"b=2"))
    assert (context.trace_id, context.parent, context.sampled, context.state) == (TRACE, PARENT, True, "a=1,b=2")
    assert context.trace_headers == (
        (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-%016x-01" % context.client),
        (b"tracestate", b"a=1,b=2"),
    )


def test_a_later_version_may_have_more_parts() -> None:
    assert read((b"traceparent", b"cc" + GOOD[2:] + b"-more")).trace_id == TRACE
    assert read((b"traceparent", GOOD[:-2] + b"00")).sampled is False


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"ff" + GOOD[2:],
        GOOD + b"-more",
        GOOD.upper(),
        GOOD[:-1],
        b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-" + b"0" * 16 + b"-01",
        "00-\u00e9".encode("latin-1"),
    ],
)
def test_what_cannot_be_read_begins_a_trace_of_our_own(value: bytes) -> None:
    context = read((b"traceparent", value), (b"tracestate", b"a=1"))
    assert context == read()
    assert (context.parent, context.sampled, context.state) == (None, True, "")
    assert context.trace_headers == ((b"traceparent", b"00-%032x-%016x-01" % (context.trace_id, context.client)),)


def test_two_parents_are_none() -> None:
    assert read((b"traceparent", GOOD), (b"traceparent", GOOD)).parent is None


def test_a_state_that_is_too_long_is_left_out() -> None:
    assert read((b"traceparent", GOOD), (b"tracestate", b"a=" + b"x" * 510)).state != ""
    assert read((b"traceparent", GOOD), (b"tracestate", b"a=" + b"x" * 511)).state == ""
    assert read((b"traceparent", GOOD), (b"tracestate", b"a=\x7f")).state == ""


def test_ids_are_those_of_the_request() -> None:
    first, again, other = (trace_context(request_id, Headers(())) for request_id in ("req_1", "req_1", "req_2"))
    assert first == again
    assert len({first.trace_id, other.trace_id, first.server, first.client, other.server, other.client}) == 6
