"""Letting in: everything that the headers alone decide, before a byte of the body is read.

A caller who is refused here has not sent 25 MB for nothing, and one who waits for `100 Continue` sends nothing at all.
"""

import asyncio
from contextlib import suppress
from typing import Self

from app import errors
from app.errors import Header
from app.gateway.budgets import Budgets
from app.gateway.caller import Caller
from app.gateway.inbound_request import InboundRequest
from app.gateway.rate_limiter import RateLimiter
from app.policy.caller_policy import Tags, read_tags
from app.policy.quota import Quota, QuotaShare
from app.wire import multipart
from app.wire.headers import Headers

# What a form may have besides the file before its Content-Length alone tells that the file is too large.
FORM_SLACK_BYTES = 1024 * 1024

# What the text fields of each request may take without counting against those of the others.
FREE_TEXT_BYTES = 16 * 1024


class ConcurrencyLease:
    """A place among the requests in flight, taken by `with` and freed on every way out, with the memory of its text
    fields; the boundary that the form is cut by, and the request's tags.
    """

    __slots__ = ("_admission_control", "_caller", "boundary", "tags", "text")

    def __init__(self, boundary: str, tags: Tags, admission_control: "AdmissionControl", caller: Caller) -> None:
        self.boundary = boundary
        self.tags = tags
        self.text = QuotaShare(admission_control.text, caller.name, FREE_TEXT_BYTES)
        self._admission_control = admission_control
        self._caller = caller

    def __enter__(self) -> Self:
        self._admission_control.take(self._caller)
        return self

    def __exit__(self, *_: object) -> None:
        self.text.release()
        self._admission_control.free(self._caller)


class AdmissionControl:
    """Counts the requests in flight and lets no more in than the gateway, and the caller's terms, allow.

    `text` is the quota of all text fields.
    """

    def __init__(
        self, max_requests: int, max_file_bytes: int, limits: RateLimiter, budgets: Budgets, text: Quota
    ) -> None:
        self._max_requests = max_requests
        self._max_file_bytes = max_file_bytes
        self._limits = limits
        self._budgets = budgets
        self.text = text
        self._empty = asyncio.Event()
        self._empty.set()
        self.in_flight = 0

    def check_rate(self, caller: Caller, now_ns: int, now_ms: int) -> tuple[Header, ...]:
        """The headers that tell what is left of the caller's rate; APIError 429 if nothing is, or if a budget is spent.

        The budgets come first: a refusal that says "do not repeat this" must not use up the rate, or the next one would
        say "try again shortly".
        """
        self._budgets.check_spent(caller, now_ms)
        return self._limits.check_rate(caller, now_ns)

    def lease(self, request: InboundRequest, caller: Caller) -> ConcurrencyLease:
        """A slot, to be entered at once; APIError if the headers already decide against the request."""
        if self.in_flight >= self._max_requests:
            raise errors.overloaded(f"{self._max_requests} requests in flight")
        self._limits.check_concurrency(caller)
        if not caller.may_do(request.operation.task):
            raise errors.task_not_allowed(request.operation.task, sorted(caller.policy.tasks or ()))
        lease = ConcurrencyLease(_boundary(request.headers), _tags(request.headers, caller), self, caller)
        self._check_declared_size(request)
        return lease

    def take(self, caller: Caller) -> None:
        """Count one more in flight."""
        self._limits.take_lease(caller)
        self.in_flight += 1
        self._empty.clear()

    def free(self, caller: Caller) -> None:
        """Count one less in flight."""
        self._limits.release_lease(caller)
        self.in_flight -= 1
        if not self.in_flight:
            self._empty.set()

    async def emptied(self, seconds: float) -> None:
        """Wait until no request is in flight, for so long at the most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()

    def _check_declared_size(self, request: InboundRequest) -> None:
        declared = request.declared_bytes
        if declared is not None and declared > self._max_file_bytes + FORM_SLACK_BYTES:
            raise errors.request_too_large(self._max_file_bytes)


def _tags(headers: Headers, caller: Caller) -> Tags:
    """The caller's own tags under those that the header `x-gateway-tag: k=v` gives this request."""
    if headers.get(b"x-gateway-tag") is None:
        return caller.policy.tags
    given = [tag for value in headers.all(b"x-gateway-tag") for tag in value.decode("latin-1").split(",")]
    pairs = [(key.strip(), value.strip()) for key, _, value in (tag.partition("=") for tag in given)]
    try:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key stands there twice")
        return read_tags(dict(caller.policy.tags) | dict(pairs))
    except ValueError as error:
        raise errors.invalid_tag(str(error).removeprefix("tags: ")) from error


def _boundary(headers: Headers) -> str:
    if any(value.strip().lower() not in (b"", b"identity") for value in headers.all(b"content-encoding")):
        raise errors.unsupported_content_encoding()
    if len(headers.all(b"content-type")) > 1:
        raise errors.bad_request("More than one Content-Type header.")
    content_type = headers.text(b"content-type")
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        raise errors.invalid_content_type()
    try:
        return multipart.boundary_of(content_type.strip())
    except multipart.MalformedForm as error:
        raise errors.invalid_multipart(str(error)) from error
