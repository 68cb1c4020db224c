"""The connection to the provider, over aiohttp's client.

It sends the provider's key to the configured host and to no other: no redirect is followed, no proxy, .netrc or cookie
is taken from the environment. Nothing is decompressed. An early answer comes back while the upload still runs, and an
exchange that is left before its body went out whole closes its connection, so that the provider sees it broken off.
"""

import asyncio
import os
import select
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Self

import aiohttp
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from pydantic import SecretStr

from app import __version__
from app.config import InvalidConfig, Task, TimeoutSettings, Upstream
from app.errors import Header
from app.gateway import provider
from app.wire.headers import Headers
from app.wire.redaction import Redaction, redacted

KEEP_ALIVE_SECONDS = 4
READ_BUFFER_BYTES = 256 * 1024


class AiohttpResponse:
    """One answer whose head has arrived. A provider that echoes its key in a header does not get it past here."""

    def __init__(self, response: aiohttp.ClientResponse, redact: Callable[[bytes], bytes]) -> None:
        self._response = response
        self.status = response.status
        self.headers = Headers(redacted(response.raw_headers, redact))

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it comes; Broken if it ends before HTTP says so."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise provider.Broken(type(error).__name__) from error


class AiohttpProvider:
    """One provider and its pool of connections. `open` and `close` belong to the loop that serves."""

    def __init__(self, settings: Upstream, key: SecretStr, timeouts: TimeoutSettings) -> None:
        self._settings = settings
        self._key = key
        self._redaction = Redaction(key.get_secret_value().encode())
        self._timeouts = timeouts
        self._tls = trusting(settings)

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS, ssl=self._tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None, connect=self._timeouts.connect, sock_connect=self._timeouts.connect, sock_read=None
            ),
            headers=self._fixed_headers(),
            skip_auto_headers=(hdrs.ACCEPT_ENCODING, hdrs.USER_AGENT),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BUFFER_BYTES,
        )

    async def close(self) -> None:
        await self._session.close()

    def redact(self, text: bytes) -> bytes:
        """The bytes without the key."""
        return self._redaction(text)

    def post(
        self,
        task: Task,
        content_type: str,
        body: AsyncIterator[bytes],
        length: int | None,
        onward: tuple[Header, ...] = (),
    ) -> "_Exchange":
        """One form's exchange, which begins when its response is asked for."""
        headers: dict[str, str] = {hdrs.CONTENT_TYPE: content_type}
        if length is not None:
            headers[hdrs.CONTENT_LENGTH] = str(length)
        for name, value in onward:
            headers[name.decode()] = value.decode()
        sent = _Sent(body)
        return _Exchange(self._response(task, headers, sent), sent, self.redact)

    async def _response(self, task: Task, headers: dict[str, str], body: "_Sent") -> aiohttp.ClientResponse:
        try:
            return await self._session.post(self._settings.url(task), data=body, headers=headers, allow_redirects=False)
        except aiohttp.ConnectionTimeoutError as error:
            raise provider.ConnectTimeout from error
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL, UnicodeError, ssl.SSLError) as error:
            raise provider.Unreachable(type(error).__name__) from error
        except (aiohttp.ClientError, OSError) as error:
            raise provider.Broken(type(error).__name__) from error

    def _fixed_headers(self) -> dict[str, str]:
        key = self._key.get_secret_value()
        return {
            hdrs.AUTHORIZATION: key if self._settings.auth_scheme == "none" else f"{self._settings.auth_scheme} {key}",
            hdrs.ACCEPT_ENCODING: "identity",
            hdrs.USER_AGENT: f"audio-gateway/{__version__}",
        }


class _Exchange:
    """One form's exchange. Its connection is used again only if the answer began after the form was out, and is whole:
    a provider who answers early may never read the rest.
    """

    def __init__(
        self, response: Awaitable[aiohttp.ClientResponse], sent: "_Sent", redact: Callable[[bytes], bytes]
    ) -> None:
        self._awaited = response
        self._response: aiohttp.ClientResponse | None = None
        self._sent = sent
        self._redact = redact

    async def response(self) -> AiohttpResponse:
        self._response = await self._awaited
        self._in_turn = self._sent.whole
        return AiohttpResponse(self._response, self._redact)

    async def aclose(self) -> None:
        if self._response is not None:
            if self._in_turn and self._response.content.at_eof():
                self._response.release()
            else:
                self._response.close()
        await self._sent.left.wait()


class _Sent:
    """A body that knows whether it has been taken to its end, and whether aiohttp's writer is still inside of it.

    The writer is a task of aiohttp's: cancelled when the exchange ends, it leaves the caller's stream a moment later,
    and only then may that stream be closed or read on.
    """

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self.whole = False
        self.left = asyncio.Event()
        self.left.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self.left.clear()
        try:
            return await anext(self._body)
        except StopAsyncIteration:
            self.whole = True
            raise
        finally:
            self.left.set()


class _Connector(aiohttp.TCPConnector):
    """aiohttp's pool of connections, each with a protocol of ours.

    One that is not used again is ended at once: closing it would first wait, maybe for ever, until the provider has
    read what is still unsent.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(_ProviderConnection, loop=self._loop)  # type: ignore[assignment]  # partial is invariant

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        assert isinstance(protocol, _ProviderConnection)
        if should_close or protocol.should_close or protocol.has_unsent:
            protocol.abort()
            should_close = True
        super()._release(key, protocol, should_close=should_close)
        protocol.resting = True


class _ProviderConnection(ResponseHandler):
    """One connection, with what aiohttp's lacks.

    last words  Where a provider answers early and closes with our bytes unread, its kernel sends a reset, on which our
                next write fails. The answer came before and is still there to be read (under TLS it no longer is).
    resting     In the pool nothing is due: what comes then would be taken for the answer to the next request.
    reset       ends no answer, also not one whose end is that of its connection.
    """

    resting = False

    @property
    def has_unsent(self) -> bool:
        return self.transport is not None and self.transport.get_write_buffer_size() > 0

    def is_connected(self) -> bool:
        """Also asked before a pooled connection is used again: the provider's close may lie unread in the kernel."""
        return super().is_connected() and not (self.resting and _has_unread(self.transport))

    def set_response_params(self, **params: Any) -> None:
        self.resting = False
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        if not (data and self.resting):
            super().data_received(data)
        if self.resting and (data or self.should_close):
            self.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._read_what_came(exc)
        if exc is not None and self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(aiohttp.ClientPayloadError(type(exc).__name__))
        super().connection_lost(exc)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        self._read_what_came(exc)
        super().set_exception(exc, *cause)

    def _read_what_came(self, error: BaseException | None) -> None:
        transport = self.transport
        if not isinstance(error, OSError) or transport is None or transport.get_extra_info("sslcontext") is not None:
            return
        try:
            while data := os.read(transport.get_extra_info("socket").fileno(), READ_BUFFER_BYTES):
                self.data_received(data)
        except OSError:
            return


def trusting(settings: Upstream) -> ssl.SSLContext:
    """TLS that trusts the authorities of the settings, or else the system's; InvalidConfig if there are none.

    Python's default context would let SSL_CERT_FILE and SSL_CERT_DIR decide to whom the provider's key is sent.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(settings.ca_file)
        except OSError as error:
            raise InvalidConfig(f"upstreams.{settings.name}: {settings.ca_file} is no ca_file: {error}") from None
        return context
    system = ssl.get_default_verify_paths()
    for file, folder in ((system.openssl_cafile, None), (None, system.openssl_capath)):
        with suppress(OSError):
            context.load_verify_locations(file, folder)
    return context


def _has_unread(transport: asyncio.BaseTransport | None) -> bool:
    """Whether bytes, an end or a reset wait at this connection."""
    if transport is None:
        return True
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))
