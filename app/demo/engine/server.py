"""The engine's HTTP API, on Starlette."""

from __future__ import annotations

import hmac
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from secrets import token_hex

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.demo.engine.decoding import UnreadableAudio
from app.demo.engine.errors import APIError, unreadable_file, wrong_key
from app.demo.engine.formats import Task, delta_frame, done_frame, render
from app.demo.engine.request_form import TranscriptionForm, read_form
from app.demo.engine.transcriber import PartialTranscript, Transcriber
from app.demo.engine.transcript import Transcript, Word

MODEL = "pocketsphinx-en-us"


def create_engine(api_key: str | None = None) -> ASGIApp:
    """The ASGI application; with an `api_key` it accepts only `Authorization: Bearer <api_key>`."""
    transcriber = Transcriber()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await transcriber.warm_up()
        yield

    def speech(task: Task) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            _authenticate(request, api_key)
            return await _transcription(transcriber, read_form(await request.form(), task))

        return endpoint

    async def models(request: Request) -> Response:
        _authenticate(request, api_key)
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "cmusphinx"}
        return JSONResponse({"object": "list", "data": [model]})

    routes = [
        Route("/v1/audio/transcriptions", speech("transcribe"), methods=["POST"]),
        Route("/v1/audio/translations", speech("translate"), methods=["POST"]),
        Route("/v1/models", models, methods=["GET"]),
    ]
    handlers = {APIError: _error_response, HTTPException: _error_response, Exception: _error_response}
    return ResponseHeaders(Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan))


class ResponseHeaders:
    """Middleware that adds `x-request-id` and `openai-processing-ms` to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.monotonic()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = f"req_{token_hex(12)}"
                headers["openai-processing-ms"] = str(round((time.monotonic() - started) * 1000))
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _authenticate(request: Request, api_key: str | None) -> None:
    authorization = request.headers.get("authorization", "")
    if api_key is not None and not hmac.compare_digest(authorization.encode(), f"Bearer {api_key}".encode()):
        raise wrong_key()


async def _transcription(transcriber: Transcriber, form: TranscriptionForm) -> Response:
    try:
        if form.stream:
            return await _stream(transcriber, form)
        rendered = render(await transcriber.transcribe(form.file), form.output)
    except UnreadableAudio as error:
        raise unreadable_file(str(error)) from error
    return Response(rendered.body, media_type=rendered.media_type)


async def _stream(transcriber: Transcriber, form: TranscriptionForm) -> Response:
    parts = transcriber.stream(form.file)
    await anext(parts)  # an unreadable file fails here, before the response starts
    return StreamingResponse(_frames(parts), media_type="text/event-stream", headers={"cache-control": "no-cache"})


async def _frames(parts: AsyncGenerator[PartialTranscript, None]) -> AsyncIterator[str]:
    words: tuple[Word, ...] = ()
    seconds = 0.0
    async with aclosing(parts):
        async for part in parts:
            if part.words:
                yield delta_frame(part.words, first=not words)
            words, seconds = words + part.words, part.seconds
    yield done_frame(Transcript(words, seconds))


async def _error_response(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        error = APIError(error.detail, status=error.status_code)
    if not isinstance(error, APIError):
        error = APIError("The engine failed to process this request.", status=500)
    return Response(error.envelope(), error.status, media_type="application/json")
