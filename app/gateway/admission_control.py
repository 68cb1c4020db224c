"""Admission control: everything that the headers alone decide, before a byte of the body is read.

A caller that is refused here has not sent 25 MB in vain. A caller that waits for `100 Continue` sends nothing at all.
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

# What a form may contain besides the file before its Content-Length alone proves that the file is too large.
FORM_SLACK_BYTES = 1024 * 1024

# What the text fields of each request may take without counting against those of the others.
FREE_TEXT_BYTES = 16 * 1024


class ConcurrencyLease:
    """One of the places for requests in flight: taken by `with`, released on every way out.

    It also has what the headers say of the form: its `boundary`, the request's `tags`, and the memory that its `text`
    fields take.
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
        self._admission_control.release(self._caller)


class AdmissionControl:
    """Counts the requests in flight, and admits no more than the gateway and the caller's policy allow.

    `text` is the quota of all text fields.
    """

    def __init__(
        self, max_requests: int, max_file_bytes: int, rate_limiter: RateLimiter, budgets: Budgets, text: Quota
    ) -> None:
        self._max_requests = max_requests
        self._max_file_bytes = max_file_bytes
        self._rate_limiter = rate_limiter
        self._budgets = budgets
        self.text = text
        self._idle = asyncio.Event()
        self._idle.set()
        self.in_flight = 0

    def check_rate(self, caller: Caller, now_ns: int, now_ms: int) -> tuple[Header, ...]:
        """Returns headers with what is left of the caller's rate; APIError 429 if it is used up, or a budget is spent.

        Budgets come first. An error that says "do not retry" must not use up the rate, or the next error would say "try
        again shortly".
        """
        self._budgets.check_spent(caller, now_ms)
        return self._rate_limiter.check_rate(caller, now_ns)

    def lease(self, request: InboundRequest, caller: Caller) -> ConcurrencyLease:
        """Returns a lease, to be entered at once; APIError if the headers already decide against the request."""
        if self.in_flight >= self._max_requests:
            raise errors.overloaded(f"{self._max_requests} requests in flight")
        self._rate_limiter.check_concurrency(caller)
        task = request.operation.task
        if not caller.may_do(task):
            raise errors.task_not_allowed(task, sorted(caller.policy.tasks or ()))
        lease = ConcurrencyLease(_boundary(request.headers), _tags(request.headers, caller), self, caller)
        self._check_declared_size(request)
        return lease

    def take(self, caller: Caller) -> None:
        """Counts one more request in flight."""
        self._rate_limiter.take_lease(caller)
        self.in_flight += 1
        self._idle.clear()

    def release(self, caller: Caller) -> None:
        """Counts one request in flight less."""
        self._rate_limiter.release_lease(caller)
        self.in_flight -= 1
        if not self.in_flight:
            self._idle.set()

    async def wait_until_idle(self, seconds: float) -> None:
        """Waits until no request is in flight, for this time at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    def _check_declared_size(self, request: InboundRequest) -> None:
        declared = request.declared_bytes
        if declared is not None and declared > self._max_file_bytes + FORM_SLACK_BYTES:
            raise errors.request_too_large(self._max_file_bytes)


def _tags(headers: Headers, caller: Caller) -> Tags:
    """Returns the caller's own tags, overridden by those of the header `x-gateway-tag: k=v`."""
    if headers.get(b"x-gateway-tag") is None:
        return caller.policy.tags
    texts = [tag for value in headers.all(b"x-gateway-tag") for tag in value.decode("latin-1").split(",")]
    pairs = [(key.strip(), value.strip()) for key, _, value in (text.partition("=") for text in texts)]
    try:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key occurs twice")
        return read_tags(dict(caller.policy.tags) | dict(pairs))
    except ValueError as error:
        raise errors.invalid_tag(str(error).removeprefix("tags: ")) from error


def _boundary(headers: Headers) -> str:
    """Returns the form's boundary; APIError for another content type or an encoded body."""
    if any(value.strip().lower() not in (b"", b"identity") for value in headers.all(b"content-encoding")):
        raise errors.unsupported_content_encoding()
    if len(headers.all(b"content-type")) > 1:
        raise errors.bad_request("More than one Content-Type header.")
    content_type = headers.text(b"content-type")
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        raise errors.invalid_content_type()
    try:
        return multipart.parse_boundary(content_type.strip())
    except multipart.MalformedForm as error:
        raise errors.invalid_multipart(str(error)) from error
