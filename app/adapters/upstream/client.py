"""The upstream client: one host, one key, and a POST to one path for each task."""

from collections.abc import AsyncGenerator
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from app import __version__
from app.adapters.upstream.call import HttpUpstreamCall
from app.adapters.upstream.origin import Origin
from app.adapters.upstream.pool import Pool
from app.adapters.upstream.tls_context import client_tls_context
from app.config import TimeoutSettings, Upstream
from app.errors import Header
from app.policy.task import TASKS, Task
from app.wire.redaction import Redaction

# RFC 3986, 3.3; `%` because a path may be percent-encoded already.
_PATH_CHARACTERS = "/%:@!$&'()*+,;="


class HttpUpstreamClient:
    """One upstream and its pool of connections. Call `open` and `close` on the event loop that serves."""

    def __init__(self, settings: Upstream, key: SecretStr, timeouts: TimeoutSettings) -> None:
        self.redact = Redaction(key.get_secret_value().encode())
        self._connect_seconds = timeouts.connect
        self._origin = Origin.of(settings)
        self._tls = client_tls_context(settings)
        self._fixed_heads = {task: _fixed_head(self._origin, settings, task, key.get_secret_value()) for task in TASKS}

    async def open(self) -> None:
        self._pool = Pool(self._origin, self._tls, self._connect_seconds)

    async def close(self) -> None:
        self._pool.close()

    def post(
        self,
        task: Task,
        content_type: str,
        body: AsyncGenerator[bytes, None],
        length: int | None,
        trace_headers: tuple[Header, ...] = (),
    ) -> HttpUpstreamCall:
        """Returns one request, which starts when its `response` is awaited. `length` is the body's, None for chunks."""
        framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
        extra = b"".join([b"%b: %b\r\n" % header for header in trace_headers])
        head = b"%bContent-Type: %b\r\n%b%b\r\n\r\n" % (self._fixed_heads[task], content_type.encode(), extra, framing)
        return HttpUpstreamCall(self._pool, head, body, chunked=length is None, redact=self.redact)


def _fixed_head(origin: Origin, settings: Upstream, task: Task, key: str) -> bytes:
    """Returns the request line and the fields that are the same for every request of a task."""
    credentials = key if settings.auth_scheme == "none" else f"{settings.auth_scheme} {key}"
    lines = (
        f"POST {quote(urlsplit(settings.url(task)).path, safe=_PATH_CHARACTERS)} HTTP/1.1",
        f"Host: {origin.authority}",
        f"Authorization: {credentials}",
        "Accept: */*",
        "Accept-Encoding: identity",
        f"User-Agent: audio-gateway/{__version__}",
        "",
    )
    return "\r\n".join(lines).encode("ascii")
