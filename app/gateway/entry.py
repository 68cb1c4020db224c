"""Letting in: everything that the headers alone decide, before a byte of the body is read.

A caller who is refused here has not sent 25 MB for nothing, and one who waits for `100 Continue` sends nothing at all.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app import errors
from app.gateway.call import Call
from app.wire import multipart

# What a form may have besides the file before its Content-Length alone tells that the file is too large.
FORM_SLACK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Slot:
    """A place among the requests in flight, and the boundary that the request's form is cut by."""

    boundary: str


class Entrance:
    """Counts the requests in flight and lets no more in than the gateway was set up for."""

    def __init__(self, max_requests: int, max_file_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_file_bytes = max_file_bytes
        self.in_flight = 0

    @contextmanager
    def slot(self, call: Call) -> Iterator[Slot]:
        """A slot, freed on every way out; Refusal if the headers already decide against the request."""
        boundary = _boundary(call)
        self._check_declared_size(call)
        if self.in_flight >= self._max_requests:
            raise errors.overloaded(f"{self._max_requests} requests in flight")
        self.in_flight += 1
        try:
            yield Slot(boundary)
        finally:
            self.in_flight -= 1

    def _check_declared_size(self, call: Call) -> None:
        declared = call.declared_bytes
        if declared is not None and declared > self._max_file_bytes + FORM_SLACK_BYTES:
            raise errors.request_too_large(self._max_file_bytes)


def _boundary(call: Call) -> str:
    if call.headers.text(b"content-encoding").strip().lower() not in ("", "identity"):
        raise errors.unsupported_content_encoding()
    content_type = call.headers.text(b"content-type")
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        raise errors.invalid_content_type()
    try:
        return multipart.boundary_of(content_type.strip())
    except multipart.MalformedForm as error:
        raise errors.invalid_multipart(str(error)) from error
