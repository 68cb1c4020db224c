"""One request to the provider, on the gateway's own path: its connection, its serialisation, its judgement."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from app.adapters.doctor.probes import Probe, ProbeResult
from app.adapters.upstream import HttpUpstreamClient
from app.config import TimeoutSettings, Upstream
from app.errors import APIError
from app.gateway import response_mapping
from app.gateway.ports import ConnectTimeout, TransportFailure, UpstreamResponse
from app.wire.media import AudioMeter, Container
from app.wire.multipart import FormWriter

MAX_ANSWER_BYTES = 1024 * 1024
MAX_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Clip:
    """The audio that is sent."""

    audio: bytes
    container: Container = Container.M4A

    @classmethod
    def read(cls, file: Path) -> "Clip":
        return cls(file.read_bytes())

    @property
    def seconds(self) -> float:
        meter = AudioMeter(self.container)
        meter.feed(self.audio)
        return meter.finish().seconds


async def send_probe(
    upstream: Upstream, key: SecretStr, timeouts: TimeoutSettings, clip: Clip, way: Probe
) -> ProbeResult:
    """What comes of sending the clip in this way."""
    changed = {"transcriptions_path": way.path, "auth_scheme": way.auth_scheme, "framing": way.framing}
    provider = HttpUpstreamClient(upstream.model_copy(update=changed), key, timeouts)
    await provider.open()
    try:
        async with asyncio.timeout(timeouts.total):
            return await _send_probe(provider, clip, way)
    except (TransportFailure, TimeoutError) as error:
        return ProbeResult(way, None, False, _words(error))
    finally:
        await provider.close()


async def _send_probe(provider: HttpUpstreamClient, clip: Clip, way: Probe) -> ProbeResult:
    writer = FormWriter(secrets.token_hex(16))
    form = _form(writer, clip, way)
    length = sum(map(len, form)) if way.framing == "length" else None
    async with aclosing(provider.post("transcribe", writer.content_type, _pieces(form), length)) as post:
        response = await post.response()
        body = provider.redact(await _body(response))
        if not 200 <= response.status < 300:
            return ProbeResult(way, response.status, False, _shown(body))
        try:
            document = response_mapping.of_success(response.headers, body, "json")
        except APIError as refusal:
            return ProbeResult(way, response.status, False, refusal.message)
    heard = document.get("text") if isinstance(document, dict) else None
    if not isinstance(heard, str):
        return ProbeResult(way, response.status, False, f"no transcript in {_shown(body)}")
    return ProbeResult(way, response.status, True, f"{way.model.id} heard: {_shown(heard.encode())}")


def _form(writer: FormWriter, clip: Clip, way: Probe) -> list[bytes]:
    head = writer.file_head(f"audio.{clip.container.value}", clip.container.media_type)
    model = writer.field("model", way.model.name_upstream.encode())
    return [model + head + clip.audio + writer.file_end(), writer.close()]


async def _pieces(form: list[bytes]) -> AsyncGenerator[bytes, None]:
    for piece in form:
        yield piece


async def _body(response: UpstreamResponse) -> bytes:
    body = b""
    async for chunk in response.body():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            break
    return body


def _shown(body: bytes) -> str:
    """The beginning of it on one line, without what a terminal would obey."""
    words = " ".join(body.decode("utf-8", "replace").split())
    plain = "".join(character for character in words if character.isprintable())
    return plain[:MAX_SHOWN_CHARACTERS] or "nothing"


def _words(error: Exception) -> str:
    timed_out = isinstance(error, TimeoutError | ConnectTimeout)
    return "not in time" if timed_out else str(error) or type(error).__name__
