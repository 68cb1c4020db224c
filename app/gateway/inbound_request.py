"""A request as it arrives, before a byte of its body is read. Every stage gets it."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from app.operations import Operation
from app.wire.headers import Headers


@dataclass(slots=True)
class UploadProgress:
    """How many bytes of the body have arrived, how many seconds the gateway waited for the caller, and whether the body
    is complete.
    """

    received: int = 0
    waited: float = 0.0
    complete: bool = False


@dataclass(frozen=True, slots=True)
class InboundRequest:
    """One request.

    `id` is its `x-request-id` and the id of its row in the ledger; it sorts by time. `body` yields chunks of any size,
    and raises APIError if the caller disconnects or is too slow. `address` is the peer's, empty if it has none. `began`
    is the request's first moment, in seconds of the monotonic clock.
    """

    id: str
    operation: Operation
    headers: Headers
    body: AsyncIterator[bytes]
    received_ms: int
    address: str = ""
    progress: UploadProgress = field(default_factory=UploadProgress)
    began: float = field(default_factory=time.monotonic)

    @property
    def declared_bytes(self) -> int | None:
        """The body's size as Content-Length states it; None for a chunked body."""
        value = self.headers.get(b"content-length")
        return int(value) if value is not None and value.isdigit() else None
