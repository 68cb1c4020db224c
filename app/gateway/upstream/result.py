"""How an attempt ends.

BufferedResponse     a success, complete and readable, held in memory (up to 32 MiB)
StreamingResponse    a success that arrives as server-sent events
UpstreamFailure      anything else; it states whether the upstream may have billed
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from app.errors import APIError
from app.gateway.ports import UpstreamResponse
from app.units import Usage
from app.wire.headers import Headers, upstream_request_id
from app.wire.sse import Event


@dataclass(frozen=True, slots=True)
class BufferedResponse:
    """A complete success, JSON or text, and the usage that it states."""

    status: int
    headers: Headers
    answered_ms: int
    body: bytes
    is_json: bool
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class StreamingResponse:
    """A success whose `events` are still arriving.

    The iterator ends only if the stream ends as HTTP requires. Otherwise it raises UpstreamFailure.
    """

    status: int
    headers: Headers
    answered_ms: int
    events: AsyncIterator[Event]


class UpstreamFailure(Exception):
    """The attempt gave no response for the caller. `error` is what the caller gets instead.

    `may_have_billed`: whether the upstream may have done its work all the same.
    """

    def __init__(self, error: APIError, *, may_have_billed: bool, upstream_request_id: str | None = None) -> None:
        super().__init__(error.message)
        self.error = error.without_retry() if may_have_billed else error
        self.may_have_billed = may_have_billed
        self.upstream_request_id = upstream_request_id


def billed_failure(error: APIError, response: UpstreamResponse) -> UpstreamFailure:
    """Returns the failure of a response that began as a success."""
    return UpstreamFailure(error, may_have_billed=True, upstream_request_id=upstream_request_id(response.headers))
