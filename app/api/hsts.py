"""HTTP Strict Transport Security (RFC 6797): responses over TLS tell browsers to use TLS only."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HSTS_SECONDS = 31_536_000


class HSTSMiddleware:
    """Adds `strict-transport-security` to each response to a request that came over TLS."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("scheme") != "https":
            await self._application(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"strict-transport-security", b"max-age=%d" % HSTS_SECONDS)
                message["headers"] = [*message.get("headers", ()), policy]
            await send(message)

        await self._application(scope, receive, send_with_policy)
