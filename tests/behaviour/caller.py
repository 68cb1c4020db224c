"""Callers of a gateway: the OpenAI SDK, and requests as exact bytes that can be sent whole or piece by piece."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI, OpenAI

from tests.audio import make
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import Headers, Part, RawConnection, RawResponse, multipart, request

TRANSCRIPTIONS = "/v1/audio/transcriptions"
TRANSLATIONS = "/v1/audio/translations"

FORM = ("Content-Type", "multipart/form-data; boundary=test-boundary")
CLOSING = b"--test-boundary--\r\n"

CLIP = make("wav", "pcm_s16le", 0.5)


def sdk(gateway: GatewayProcess, key: str | None = None, retries: int = 0) -> OpenAI:
    return OpenAI(base_url=gateway.base_url, api_key=key or gateway.key, max_retries=retries, timeout=30)


def async_sdk(gateway: GatewayProcess) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=gateway.base_url, api_key=gateway.key, max_retries=0, timeout=30)


def connect(gateway: GatewayProcess) -> RawConnection:
    return RawConnection("127.0.0.1", gateway.port)


def form(
    model: str | None = "whisper-1",
    audio: bytes = CLIP,
    filename: str = "clip.wav",
    fields: Iterable[tuple[str, str]] = (),
) -> list[Part]:
    """The model, further fields and the file, in this order; no model for None."""
    named = [("model", model)] if model is not None else []
    return [*(Part(name, value.encode()) for name, value in (*named, *fields)), Part("file", audio, filename)]


def post_bytes(gateway: GatewayProcess, body: bytes, path: str = TRANSCRIPTIONS, headers: Headers = ()) -> bytes:
    """A request with this body and the caller's key; headers of these names take the place of the usual ones."""
    given = list(headers)
    names = {name.lower() for name, _ in given}
    usual = [("Authorization", f"Bearer {gateway.key}"), FORM]
    return request("POST", path, [*(each for each in usual if each[0].lower() not in names), *given], body)


def post(
    gateway: GatewayProcess, parts: Sequence[Part], path: str = TRANSCRIPTIONS, headers: Headers = ()
) -> RawResponse:
    """One form, sent whole on a connection of its own, and its answer."""
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, multipart(parts), path, headers))
        return caller.read_response()


def begin(gateway: GatewayProcess, caller: RawConnection, path: str = TRANSCRIPTIONS, headers: Headers = ()) -> None:
    """The head of a chunked request, whose body is to follow in chunks."""
    caller.send(post_bytes(gateway, b"", path, [*headers, ("Transfer-Encoding", "chunked")]))


def request_id(answer: RawResponse) -> str:
    """The answer's own id, which every answer must have."""
    found = answer.header("x-request-id")
    assert found is not None, answer
    assert found.startswith("req_"), found
    return found


def error_of(answer: RawResponse) -> dict[str, Any]:
    """The error of an answer that must be an envelope with a request id."""
    request_id(answer)
    assert answer.complete
    assert answer.header("content-type") == "application/json"
    document = answer.json()
    assert set(document) == {"error"}
    error: dict[str, Any] = document["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def held_row(gateway: GatewayProcess) -> dict[str, Any]:
    """The one row of a request that is under way, as soon as it is on disk."""
    deadline = time.monotonic() + 5
    while not (found := gateway.rows("state = 'held'")):
        assert time.monotonic() < deadline, gateway.rows()
        fence(gateway)
    (row,) = found
    return row


def fence(gateway: GatewayProcess) -> None:
    """Return when the gateway has done what it can do with all that was sent to it before.

    It serves from one thread, so that an answer to a later request comes after the work that waited already; a few
    rounds also pass over steps that one after the other run on other threads.
    """
    with connect(gateway) as caller:
        for _ in range(10):
            caller.send(request("GET", "/healthz"))
            assert caller.read_response().status == 200


def wait_for_text(file: Path, text: str) -> None:
    """Return when this text stands in a file that somebody writes."""
    deadline = time.monotonic() + 20
    while text not in (found := file.read_text()):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
