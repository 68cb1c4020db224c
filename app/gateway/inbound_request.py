"""What every stage is handed: one request as it came in, before a byte of its body has been read."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from app.operations import Operation
from app.wire.headers import Headers


@dataclass(slots=True)
class UploadProgress:
    """How many bytes of a body have come so far, whether they are all of it, and how long the caller was waited for, in
    seconds.
    """

    received: int = 0
    waited: float = 0.0
    complete: bool = False


@dataclass(frozen=True, slots=True)
class InboundRequest:
    """One request. `id` is its `x-request-id` and its row in the ledger, and sorts by time.

    `body` raises an APIError when the caller goes away or is too slow; its chunks have any size. `address` is the
    peer's, empty where it has none. `began` is the request's first moment on the monotonic clock, in seconds.
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
        """The body's length as Content-Length tells it; None for a chunked body."""
        value = self.headers.get(b"content-length")
        return int(value) if value is not None and value.isdigit() else None
