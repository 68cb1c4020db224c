"""The engine's HTTP face: `python -m app.demo.engine --port N [--host 127.0.0.1] [--api-key KEY]`.

Port 0 takes a free one. Once it is ready it prints one line to stdout: `{"listening": "http://127.0.0.1:PORT/v1"}`.
Without `--api-key` the key is read from the environment's EMBEDDED_ENGINE_KEY, which other users of the machine cannot
see; with neither, no key is asked for. Owns Starlette and uvicorn.
"""

from __future__ import annotations

import argparse
import hmac
import json
import os
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from secrets import token_hex

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.demo import KEY_VARIABLE
from app.demo.decoding import UnreadableAudio
from app.demo.errors import APIError, unreadable_file, wrong_key
from app.demo.formats import Task, delta_frame, done_frame, render
from app.demo.listener import Listener, Recognition
from app.demo.request_form import TranscriptionForm, read_form
from app.demo.transcript import Transcript, Word

MODEL = "pocketsphinx-en-us"
GRACE_SECONDS = 3


def create_engine(api_key: str | None = None) -> ASGIApp:
    """The ASGI application; with an `api_key` it answers only `Authorization: Bearer <api_key>`."""
    listener = Listener()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await listener.warm_up()
        yield

    def speech(task: Task) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            _authorise(request, api_key)
            return await _answer(listener, read_form(await request.form(), task))

        return endpoint

    async def models(request: Request) -> Response:
        _authorise(request, api_key)
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "cmusphinx"}
        return JSONResponse({"object": "list", "data": [model]})

    routes = [
        Route("/v1/audio/transcriptions", speech("transcribe"), methods=["POST"]),
        Route("/v1/audio/translations", speech("translate"), methods=["POST"]),
        Route("/v1/models", models, methods=["GET"]),
    ]
    handlers = {APIError: _refused, HTTPException: _refused, Exception: _refused}
    return Stamp(Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan))


class Stamp:
    """Puts `x-request-id` and `openai-processing-ms` on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = f"req_{token_hex(12)}"
                headers["openai-processing-ms"] = str(round((time.monotonic() - began) * 1000))
            await send(message)

        await self._app(scope, receive, stamped)


def _authorise(request: Request, api_key: str | None) -> None:
    given = request.headers.get("authorization", "")
    if api_key is not None and not hmac.compare_digest(given.encode(), f"Bearer {api_key}".encode()):
        raise wrong_key()


async def _answer(listener: Listener, ask: TranscriptionForm) -> Response:
    try:
        if ask.stream:
            return await _stream(listener, ask)
        rendered = render(await listener.transcript(ask.file), ask.wanted)
    except UnreadableAudio as error:
        raise unreadable_file(str(error)) from error
    return Response(rendered.body, media_type=rendered.media_type)


async def _stream(listener: Listener, ask: TranscriptionForm) -> Response:
    hearing = listener.hear(ask.file)
    await anext(hearing)
    return StreamingResponse(_frames(hearing), media_type="text/event-stream", headers={"cache-control": "no-cache"})


async def _frames(hearing: AsyncGenerator[Recognition, None]) -> AsyncIterator[str]:
    words: tuple[Word, ...] = ()
    seconds = 0.0
    async with aclosing(hearing):
        async for heard in hearing:
            if heard.words:
                yield delta_frame(heard.words, first=not words)
            words, seconds = words + heard.words, heard.seconds
    yield done_frame(Transcript(words, seconds))


async def _refused(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        error = APIError(error.detail, status=error.status_code)
    if not isinstance(error, APIError):
        error = APIError("The engine failed at this request.", status=500)
    return Response(error.envelope(), error.status, media_type="application/json")


class _AnnouncingServer(uvicorn.Server):
    """Says where it listens, once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or []:
            host, port = listening.getsockname()[:2]
            print(json.dumps({"listening": f"http://{host}:{port}/v1"}), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m app.demo.engine", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument("--api-key", default=os.environ.get(KEY_VARIABLE), help=f"default: ${KEY_VARIABLE}, or none")
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    config = uvicorn.Config(
        create_engine(arguments.api_key or None),
        host=arguments.host,
        port=arguments.port,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    _AnnouncingServer(config).run(sockets=[config.bind_socket()])


if __name__ == "__main__":
    main()
