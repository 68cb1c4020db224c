"""The connection to the provider, as the relay needs it: one request up, one answer down, and what can go wrong."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Protocol

from app.config import Task
from app.errors import Header
from app.wire.headers import Headers


class TransportFailure(Exception):
    """What goes wrong on the provider's connection, as the adapter tells it.

    ├── Unreachable     no connection could be made: refused, DNS, TLS
    ├── ConnectTimeout  nor within the time for it
    └── Broken          the connection was lost, or what came over it is not HTTP
    """


class Unreachable(TransportFailure):
    pass


class ConnectTimeout(TransportFailure):
    pass


class ConnectionLost(TransportFailure):
    pass


class UpstreamResponse(Protocol):
    """An answer whose head has arrived. `body` raises Broken on a cut."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Headers: ...
    def body(self) -> AsyncIterator[bytes]: ...


class UpstreamCall(Protocol):
    """One form on its way. Closed before its body went out whole, it is aborted; nothing of it is open afterwards."""

    async def response(self) -> UpstreamResponse:
        """The answer; TransportFailure if none comes. An error of ours in the form's body is raised as it is."""

    async def sent(self) -> None:
        """Return when the form is out, or never will be: its body is closed, or the connection has ended. After
        `response` only.
        """

    async def aclose(self) -> None: ...


class UpstreamClient(Protocol):
    """The connection to the provider. `trace_headers` are headers of ours that go with a form."""

    def post(
        self,
        task: Task,
        content_type: str,
        body: AsyncGenerator[bytes, None],
        length: int | None,
        trace_headers: tuple[Header, ...] = (),
    ) -> UpstreamCall: ...

    @property
    def redact(self) -> Callable[[bytes], bytes]:
        """Gives the bytes without the provider's key; the same object where it is not in them."""
