"""Sends the pipeline's response to the caller as ASGI messages."""

from starlette.types import Message, Send

from app.gateway.settlement import CallerResponse


class ResponseSender:
    """Sends one response. It never raises: it drops what the caller no longer reads.

    The pipeline must read the upstream's usage to the end even if the caller disconnects. The server's connection
    limits how long a caller may stop reading.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._connected = True
        self.started = False

    async def send_response(self, response: CallerResponse) -> None:
        headers = list(response.headers)
        if isinstance(response.body, bytes):
            headers.append((b"content-length", b"%d" % len(response.body)))
            await self._start(response.status, headers)
            await self._body(response.body, more_body=False)
            return
        headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
        await self._start(response.status, headers)
        async for chunk in response.body:
            await self._body(chunk, more_body=True)
        await self._body(b"", more_body=False)

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.started = True
        await self._deliver({"type": "http.response.start", "status": status, "headers": headers})

    async def _body(self, body: bytes, *, more_body: bool) -> None:
        await self._deliver({"type": "http.response.body", "body": body, "more_body": more_body})

    async def _deliver(self, message: Message) -> None:
        if not self._connected:
            return
        try:
            await self._send(message)
        except OSError:
            self._connected = False
