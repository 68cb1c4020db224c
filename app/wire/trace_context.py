"""W3C Trace Context (https://www.w3.org/TR/trace-context/): who a request's spans belong to, read and written.

The ids of our own two spans, and of a trace that begins with us, are taken from the request's id, which is unique:
so nothing needs to travel with the request, and whoever has the id can find the trace.
"""

import re
from dataclasses import dataclass
from hashlib import sha256

from app.errors import Header
from app.wire.headers import Headers

MAX_STATE_CHARACTERS = 512

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE = re.compile(r"[\x20-\x7e]*")
_SAMPLED = 1


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One request's place in a trace: `parent` is the caller's span, `server` and `client` are ours."""

    trace_id: int
    parent: int | None
    server: int
    client: int
    sampled: bool
    state: str

    @property
    def trace_headers(self) -> tuple[Header, ...]:
        """The headers that name the client span as the parent of what the provider does."""
        flags = _SAMPLED if self.sampled else 0
        parent = (b"traceparent", b"00-%032x-%016x-%02x" % (self.trace_id, self.client, flags))
        return (parent, (b"tracestate", self.state.encode())) if self.state else (parent,)


def trace_context(request_id: str, headers: Headers) -> TraceContext:
    """The caller's trace; one of our own where the headers name none, or none that can be read."""
    digest = sha256(request_id.encode()).digest()
    trace_id, server, client = (int.from_bytes(digest[begin:end]) for begin, end in ((0, 16), (16, 24), (24, 32)))
    told = _told(headers)
    if told is None:
        return TraceContext(trace_id, None, server, client, sampled=True, state="")
    return TraceContext(told[0], told[1], server, client, sampled=told[2], state=_state(headers))


def _told(headers: Headers) -> tuple[int, int, bool] | None:
    """The caller's trace, span, and whether it is sampled. Version 00 ends with its flags; later ones may go on."""
    values = headers.all(b"traceparent")
    found = _PARENT.fullmatch(values[0].decode("latin-1").strip()) if len(values) == 1 else None
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return None
    trace_id, parent, flags = (int(found[group], 16) for group in (2, 3, 4))
    return (trace_id, parent, bool(flags & _SAMPLED)) if trace_id and parent else None


def _state(headers: Headers) -> str:
    """The vendors' own part, unread; without it if it is longer than anyone must carry."""
    state = ",".join(value.decode("latin-1").strip() for value in headers.all(b"tracestate"))
    return state if len(state) <= MAX_STATE_CHARACTERS and _STATE.fullmatch(state) else ""
