"""Sends one transcription request with the gateway's own client, form writer and response checks."""

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
from app.gateway.ports import ConnectTimeout, TransportFailure, UpstreamResponse
from app.gateway.upstream import response_mapping
from app.wire.media import AudioMeter, Container
from app.wire.multipart import FormWriter

MAX_RESPONSE_BYTES = 1024 * 1024
MAX_MESSAGE_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Clip:
    """The audio to send."""

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
    upstream: Upstream, key: SecretStr, timeouts: TimeoutSettings, clip: Clip, probe: Probe
) -> ProbeResult:
    """Sends the clip as the probe says and returns the result."""
    changed = {"transcriptions_path": probe.path, "auth_scheme": probe.auth_scheme, "framing": probe.framing}
    client = HttpUpstreamClient(upstream.model_copy(update=changed), key, timeouts)
    await client.open()
    try:
        async with asyncio.timeout(timeouts.total):
            return await _send_probe(client, clip, probe)
    except (TransportFailure, TimeoutError) as error:
        return ProbeResult(probe, None, False, _reason(error))
    finally:
        await client.close()


async def _send_probe(client: HttpUpstreamClient, clip: Clip, probe: Probe) -> ProbeResult:
    writer = FormWriter(secrets.token_hex(16))
    form = _form(writer, clip, probe)
    length = sum(map(len, form)) if probe.framing == "length" else None
    async with aclosing(client.post("transcribe", writer.content_type, _chunks(form), length)) as call:
        response = await call.response()
        body = client.redact(await _body(response))
        if not 200 <= response.status < 300:
            return ProbeResult(probe, response.status, False, _printable(body))
        try:
            document = response_mapping.of_success(response.headers, body, "json")
        except APIError as error:
            return ProbeResult(probe, response.status, False, error.message)
    transcript = document.get("text") if isinstance(document, dict) else None
    if not isinstance(transcript, str):
        return ProbeResult(probe, response.status, False, f"no transcript in {_printable(body)}")
    return ProbeResult(probe, response.status, True, f"{probe.model.id} transcribed: {_printable(transcript.encode())}")


def _form(writer: FormWriter, clip: Clip, probe: Probe) -> list[bytes]:
    head = writer.file_head(f"audio.{clip.container.value}", clip.container.media_type)
    model = writer.field("model", probe.model.name_upstream.encode())
    return [model + head + clip.audio + writer.file_end(), writer.close()]


async def _chunks(form: list[bytes]) -> AsyncGenerator[bytes, None]:
    for chunk in form:
        yield chunk


async def _body(response: UpstreamResponse) -> bytes:
    body = b""
    async for chunk in response.body():
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            break
    return body


def _printable(body: bytes) -> str:
    """Returns the beginning of the text on one line, without control characters."""
    text = " ".join(body.decode("utf-8", "replace").split())
    plain = "".join(character for character in text if character.isprintable())
    return plain[:MAX_MESSAGE_CHARACTERS] or "nothing"


def _reason(error: Exception) -> str:
    timed_out = isinstance(error, TimeoutError | ConnectTimeout)
    return "timeout" if timed_out else str(error) or type(error).__name__
