"""The outermost middleware: every response has an `x-request-id`, and every error is an envelope.

It is plain ASGI, because Starlette's BaseHTTPMiddleware copies every chunk of an upload through a stream. It also calls
the audio endpoints directly, because FastAPI's layers cost as much CPU as all stages of the gateway.
"""

import logging
from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import errors
from app.api.error_response import send_error

# Answered even if all connections are in use: operators need these most then.
HEALTH_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})

_log = logging.getLogger("audio_gateway.api")


class RequestIdMiddleware:
    """Assigns each request an id, in `scope["state"]["request_id"]`, and passes the request on.

    `posts` maps paths to the endpoints that receive POST requests directly; `application` receives all other requests.
    `set_log_id` is called with the id in the request's own context, so that its log lines carry the id.
    """

    def __init__(
        self,
        application: ASGIApp,
        posts: Mapping[str, ASGIApp],
        new_request_id: Callable[[], str],
        set_log_id: Callable[[str], object],
    ) -> None:
        self._application = application
        self._posts = posts
        self._new_request_id = new_request_id
        self._set_log_id = set_log_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        request_id = self._new_request_id()
        # Routes match the path as sent: a percent-encoded path is a different path.
        scope["path"] = scope["raw_path"].decode("latin-1")
        scope.setdefault("state", {})["request_id"] = request_id
        self._set_log_id(request_id)
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
            scope = {**scope, "method": "GET"}  # the server keeps the original scope and drops the body
        try:
            await (endpoint or self._application)(scope, receive, send_with_id)
        except Exception:
            _log.exception("request %s failed with an internal error", request_id)
            if not started:
                await send_error(errors.internal_error(), send_with_id)
