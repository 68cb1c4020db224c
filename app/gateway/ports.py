"""What the request path needs from outside: every port, declared once. Adapters implement them.

    KeyStore               the callers' keys that are not in the settings
    ClosedUsageReader      what callers have spent
    Ledger                 the durable record of requests: reserve, revise, settle, refuse
    Spools                 space for uploads that cannot flow on yet
    UpstreamClient         requests to the speech provider
    RequestObserver        logs, metrics and traces

`reserve`, `revise` and `settle` take effect in the order in which they are called. What they return ends when the row
is durable, or raises LedgerUnavailable.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from app.errors import APIError, Header
from app.gateway.caller import Caller, Key
from app.gateway.inbound_request import InboundRequest
from app.gateway.ledger_rows import ClosedUsage, Days, Hold, SettlementResult
from app.gateway.request_record import RequestRecord
from app.policy.budget import Amounts
from app.policy.task import Task
from app.wire.headers import Headers


class KeyStore(Protocol):
    """The keys that were created at run time."""

    async def find(self, sha256: str) -> Key | None: ...


class ClosedUsageReader(Protocol):
    """Reads what the ledger's closed rows add up to, all of it at one moment."""

    def spent(self, caller: str, periods: Sequence[Days]) -> ClosedUsage: ...


class LedgerUnavailable(Exception):
    """The ledger could not make a row durable."""


class Ledger(Protocol):
    """The durable record of requests that were admitted, and the counters of requests that were refused."""

    def reserve(self, hold: Hold) -> Awaitable[None]:
        """Writes the row of a request that is admitted."""

    def revise(self, request_id: str, bound: Amounts, *, raised: bool) -> Awaitable[None]:
        """Writes another bound into a held row.

        A bound that is `raised` must be durable before the upload is complete. A lower one is written with the next
        commit; what is returned for it ends at once.
        """

    def settle(self, result: SettlementResult) -> Awaitable[None]:
        """Writes how a held request ended."""

    def refuse(self, caller: Caller, request: InboundRequest, error: APIError) -> None:
        """Counts a refusal. Nothing waits for it."""


class Spool(Protocol):
    """Bytes kept outside of the process's memory, beyond a small size. `write` raises APIError when spools are full."""

    size: int

    async def write(self, data: bytes) -> None: ...
    def replay(self) -> AsyncIterator[bytes]: ...
    def close(self) -> None: ...


class Spools(Protocol):
    """Opens spools, which count against their caller's share of the space."""

    def open(self, caller: str) -> Spool: ...


class TransportFailure(Exception):
    """A failure of the connection to the upstream.

    ├── Unreachable     no connection: refused, DNS, TLS
    ├── ConnectTimeout  no connection within the time for it
    └── ConnectionLost  the connection was lost, or what came over it is not HTTP
    """


class Unreachable(TransportFailure):
    pass


class ConnectTimeout(TransportFailure):
    pass


class ConnectionLost(TransportFailure):
    pass


class UpstreamResponse(Protocol):
    """A response whose head has arrived. `body` raises ConnectionLost if it is cut off."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Headers: ...
    def body(self) -> AsyncIterator[bytes]: ...


class UpstreamCall(Protocol):
    """One request to the upstream. `aclose` aborts it if its body is not complete, and leaves nothing open."""

    async def response(self) -> UpstreamResponse:
        """Sends the request and returns the response; TransportFailure if none comes.

        An APIError that the body raises is raised unchanged.
        """

    async def sent(self) -> None:
        """Returns when the body is sent, or never will be: the body is closed, or the connection has ended.

        To be called after `response` only.
        """

    async def aclose(self) -> None: ...


class UpstreamClient(Protocol):
    """The connections to one upstream."""

    def post(
        self,
        task: Task,
        content_type: str,
        body: AsyncGenerator[bytes, None],
        length: int | None,
        trace_headers: tuple[Header, ...] = (),
    ) -> UpstreamCall:
        """Returns a request that is not sent yet. `length` is the body's size, None for a chunked body.

        `trace_headers` go among the request's headers.
        """

    @property
    def redact(self) -> Callable[[bytes], bytes]:
        """Returns the bytes without the upstream's key; the same object if the key is not in them."""


class RequestObserver(Protocol):
    """Reports requests that have ended."""

    def observe(self, record: RequestRecord) -> None: ...
