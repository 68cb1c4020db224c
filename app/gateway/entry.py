"""Letting in: everything that the headers alone decide, before a byte of the body is read.

A caller who is refused here has not sent 25 MB for nothing, and one who waits for `100 Continue` sends nothing at all.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from app import errors
from app.errors import Header
from app.gateway.auth import Caller
from app.gateway.budgets import Budgets
from app.gateway.call import Call
from app.gateway.limits import Limits
from app.policy.terms import Tags, read_tags
from app.wire import multipart

# What a form may have besides the file before its Content-Length alone tells that the file is too large.
FORM_SLACK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Slot:
    """A place among the requests in flight; the boundary that the form is cut by, and the request's tags."""

    boundary: str
    tags: Tags = ()


class Entrance:
    """Counts the requests in flight and lets no more in than the gateway, and the caller's terms, allow."""

    def __init__(self, max_requests: int, max_file_bytes: int, limits: Limits, budgets: Budgets) -> None:
        self._max_requests = max_requests
        self._max_file_bytes = max_file_bytes
        self._limits = limits
        self._budgets = budgets
        self._empty = asyncio.Event()
        self._empty.set()
        self.in_flight = 0

    def paced(self, caller: Caller, now_ns: int) -> tuple[Header, ...]:
        """The headers that tell what is left of the caller's rate; Refusal 429 if nothing is."""
        return self._limits.paced(caller, now_ns)

    @contextmanager
    def slot(self, call: Call, caller: Caller) -> Iterator[Slot]:
        """A slot, freed on every way out; Refusal if the headers already decide against the request."""
        if self.in_flight >= self._max_requests:
            raise errors.overloaded(f"{self._max_requests} requests in flight")
        with self._limits.place(caller):
            slot = self._checked(call, caller)
            self.in_flight += 1
            self._empty.clear()
            try:
                yield slot
            finally:
                self.in_flight -= 1
                if not self.in_flight:
                    self._empty.set()

    async def emptied(self, seconds: float) -> None:
        """Wait until no request is in flight, for so long at the most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()

    def _checked(self, call: Call, caller: Caller) -> Slot:
        if not caller.may_do(call.task):
            raise errors.task_not_allowed(call.task, sorted(caller.terms.tasks or ()))
        slot = Slot(_boundary(call), _tags(call, caller))
        self._check_declared_size(call)
        self._budgets.check_spent(caller, call.received_ms)
        return slot

    def _check_declared_size(self, call: Call) -> None:
        declared = call.declared_bytes
        if declared is not None and declared > self._max_file_bytes + FORM_SLACK_BYTES:
            raise errors.request_too_large(self._max_file_bytes)


def _tags(call: Call, caller: Caller) -> Tags:
    """The caller's own tags under those that the header `x-gateway-tag: k=v` gives this request."""
    given = [tag for value in call.headers.all(b"x-gateway-tag") for tag in value.decode("latin-1").split(",")]
    pairs = [(key.strip(), value.strip()) for key, _, value in (tag.partition("=") for tag in given)]
    try:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key stands there twice")
        return read_tags(dict(caller.terms.tags) | dict(pairs))
    except ValueError as error:
        raise errors.invalid_tag(str(error).removeprefix("tags: ")) from error


def _boundary(call: Call) -> str:
    if any(value.strip().lower() not in (b"", b"identity") for value in call.headers.all(b"content-encoding")):
        raise errors.unsupported_content_encoding()
    if len(call.headers.all(b"content-type")) > 1:
        raise errors.bad_request("More than one Content-Type header.")
    content_type = call.headers.text(b"content-type")
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        raise errors.invalid_content_type()
    try:
        return multipart.boundary_of(content_type.strip())
    except multipart.MalformedForm as error:
        raise errors.invalid_multipart(str(error)) from error
