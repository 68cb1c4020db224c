"""The outermost layer: every answer has its `x-request-id`, and no error of ours leaves as anything but an envelope.

Plain ASGI: Starlette's BaseHTTPMiddleware would copy every chunk of an upload through a stream of its own. For the same
reason the audio endpoints are reached from here: FastAPI's own layers cost as much as all of the gateway's stages.
"""

import logging
from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import errors
from app.errors import APIError

# What the person on call needs most when all connections are taken.
HEALTH_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})

_log = logging.getLogger("audio_gateway.api")


class RequestIdMiddleware:
    """Wraps the whole application. The request's id is in `scope["state"]["request_id"]`, and `announce` is told of it
    in the request's own context, for its log.

    `posts` are the endpoints, by path, that get their POST requests past the application.
    """

    def __init__(
        self,
        application: ASGIApp,
        posts: Mapping[str, ASGIApp],
        new_request_id: Callable[[], str],
        announce: Callable[[str], object],
    ) -> None:
        self._application = application
        self._posts = posts
        self._new_request_id = new_request_id
        self._announce = announce

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        request_id = self._new_request_id()
        # Paths are matched as they came: what is percent-encoded is another path, whatever it may mean.
        scope["path"] = scope["raw_path"].decode("latin-1")
        scope.setdefault("state", {})["request_id"] = request_id
        self._announce(request_id)
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        if scope["state"].get("over_capacity") and scope["path"] not in HEALTH_PATHS:
            await send_error(errors.overloaded("all its connections are in use"), send_with_id, close=True)
            return
        endpoint = self._posts.get(scope["path"]) if scope["method"] == "POST" else None
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # the server, which keeps its own scope, drops the body
        try:
            await (endpoint or self._application)(scope, receive, send_with_id)
        except Exception:
            _log.exception("request %s ended in an error of the gateway", request_id)
            if not started:
                await send_error(errors.internal_error(), send_with_id)


async def send_error(refusal: APIError, send: Send, *, close: bool = False, more_body: bool = False) -> None:
    """The envelope of a refusal. With `more_body` the exchange stays open for the caller's rest to be read."""
    body = refusal.envelope()
    headers = [*refusal.all_headers(), (b"content-length", b"%d" % len(body))]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": more_body})
