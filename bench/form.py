"""The uploads: WAV files of noise in forms like those of SDKs, built once.

Noise has carriage returns like real audio. A parser that looks for boundaries stops at them, and silence has none.
"""

import random
import struct
from dataclasses import dataclass
from functools import cache

MODEL = "gpt-4o-transcribe"
PATH = "/v1/audio/transcriptions"
BOUNDARY = "bench-5f1d8a0c7be94f22"
SMALL_BYTES = 32 * 1024
LARGE_BYTES = 25_000_000

_RATE = 16_000


@dataclass(frozen=True)
class Form:
    """A request's body, and the size of the file in it in bytes."""

    body: bytes
    file_bytes: int

    def head(self, host: str, headers: dict[str, str]) -> bytes:
        """Returns the request's head, with Content-Length."""
        lines = [f"POST {PATH} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in {**content_type(), **headers}.items()]
        return "\r\n".join([*lines, "", ""]).encode()


def content_type() -> dict[str, str]:
    return {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def wav(size: int) -> bytes:
    """Returns a WAV file of this size in bytes: noise at 16 kHz, mono, 16 bits, the same bytes every time."""
    data = size - 44
    head = struct.pack("<IHHIIHH", 16, 1, 1, _RATE, 2 * _RATE, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", size - 8)
        + b"WAVEfmt "
        + head
        + b"data"
        + struct.pack("<I", data)
        + random.Random(1).randbytes(data)
    )


@cache
def form(file_bytes: int, *, stream: bool = False, file_first: bool = False) -> Form:
    """Returns the form with a WAV file of this size in bytes."""
    fields = [_field("model", MODEL), *([_field("stream", "true")] if stream else [])]
    file = _part('name="file"; filename="speech.wav"\r\nContent-Type: audio/wav', wav(file_bytes))
    parts = [file, *fields] if file_first else [*fields, file]
    return Form(b"".join(parts) + f"--{BOUNDARY}--\r\n".encode(), file_bytes)


def _field(name: str, value: str) -> bytes:
    return _part(f'name="{name}"', value.encode())


def _part(disposition: str, content: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + content + b"\r\n"
