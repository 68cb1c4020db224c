"""One request as the scripted upstream receives it. The test's thread can read it while it arrives."""

import hashlib
import time
from collections.abc import Callable

from tests.stubs.form import FormError, Part, parse_form


class Exchange:
    """A request and the state of its transfer. Times are of time.monotonic().

    connection    number of its TCP connection, from 1: equal numbers mean reuse
    chunks        (arrival time, size) of each read of the body, transfer coding removed
    trailers      lines after the last chunk
    complete      the body ended properly: terminating chunk seen, or Content-Length satisfied
    aborted       the connection ended before that, or the upstream's script ended it
    fault         what was wrong with the body's framing, "" if nothing
    finished_at   when one of these three became true
    answered_at   when the kernel had the last byte of a complete response
    """

    def __init__(
        self,
        connection: int,
        method: str,
        path: str,
        headers: list[tuple[str, str]],
        keep_body: bool,
        changed: Callable[[], None],
    ) -> None:
        self.connection = connection
        self.method = method
        self.path = path
        self.headers = headers
        self.received_at = time.monotonic()
        self.chunks: list[tuple[float, int]] = []
        self.trailers: list[bytes] = []
        self.size = 0
        self.complete = False
        self.aborted = False
        self.fault = ""
        self.finished_at: float | None = None
        self.answered_at: float | None = None
        self._body: bytearray | None = bytearray() if keep_body else None
        self._sha256 = hashlib.sha256()
        self._changed = changed

    def __repr__(self) -> str:
        state = "complete" if self.complete else "aborted" if self.aborted else self.fault or "arriving"
        return f"<Exchange {self.method} {self.path} on connection {self.connection}: {self.size} bytes, {state}>"

    def header(self, name: str) -> str | None:
        """Returns the value of a header; None if it is missing. Raises ValueError for duplicates."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        if len(values) > 1:
            raise ValueError(f"{name} was sent {len(values)} times: {values}")
        return values[0] if values else None

    @property
    def body(self) -> bytes:
        """The bytes that have arrived so far."""
        if self._body is None:
            raise LookupError("this upstream keeps no bodies (keep_bodies=False): size and sha256 are all there is")
        return bytes(self._body)

    @property
    def sha256(self) -> str:
        """The hex digest of the bytes that have arrived so far."""
        return self._sha256.hexdigest() if self._body is None else hashlib.sha256(self._body).hexdigest()

    def form(self) -> list[Part]:
        """Returns the parts in their order. Raises FormError unless the body is complete and well formed."""
        if not self.complete:
            raise FormError(f"not complete: {self}")
        return parse_form(self.header("content-type"), self.body)

    def fields(self, name: str) -> list[str]:
        """Returns the values of a text field, in their order."""
        return [part.data.decode() for part in self.form() if part.name == name and part.filename is None]

    def field(self, name: str) -> str:
        """Returns the value of a text field that was sent exactly once."""
        (value,) = self.fields(name)
        return value

    @property
    def file(self) -> Part:
        """The one part that has a filename."""
        (part,) = (part for part in self.form() if part.filename is not None)
        return part

    def take(self, chunk: bytes) -> None:
        """Adds a chunk of the body. For the scripted upstream only."""
        if self._body is None:
            self._sha256.update(chunk)
        else:
            self._body += chunk
        self.size += len(chunk)
        self.chunks.append((time.monotonic(), len(chunk)))
        self._changed()

    def finish(self, *, complete: bool = False, aborted: bool = False, fault: str = "") -> None:
        """Ends the body; later calls do nothing. For the scripted upstream only."""
        if self.finished_at is None:
            self.finished_at = time.monotonic()
            self.complete, self.aborted, self.fault = complete, aborted, fault
            self._changed()

    def answered(self) -> None:
        """Marks the response as complete. For the scripted upstream only."""
        self.answered_at = time.monotonic()
        self._changed()
