"""The requests of the provider's curl examples, byte for byte as curl 7.88.1 wrote them to a socket.

    curl http://HOST/v1/speech/transcriptions -H 'Authorization: KEY' -F file=@clip.wav -F model=whisper-1

curl sends the parts in the order of its -F options and always a Content-Length. It knows none of the nine audio types,
so each travels as application/octet-stream. A body above 1 MiB is announced with Expect: 100-continue: the head goes
alone, and the body after a 100, or after one second without any answer.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tests.stubs.form import Part, multipart

BOUNDARY = "-" * 24 + "46365c3a36ab3164"
EXPECT_ABOVE = 1024 * 1024


class CurlRequest(NamedTuple):
    """What curl writes first, and what it writes once it may."""

    head: bytes
    body: bytes

    @property
    def expects_continue(self) -> bool:
        return len(self.body) > EXPECT_ABOVE

    @property
    def whole(self) -> bytes:
        return self.head + self.body


def transcription(
    host: str,
    key: str,
    audio: bytes,
    filename: str = "clip.wav",
    fields: Sequence[tuple[str, str]] = (("model", "whisper-1"),),
    path: str = "/v1/speech/transcriptions",
) -> CurlRequest:
    """-F file=@... first, then the fields. `host` is as it stands in the address, with its port."""
    file = Part("file", audio, filename, "application/octet-stream")
    body = multipart([file, *(Part(name, value.encode()) for name, value in fields)], BOUNDARY)
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {host}",
        "User-Agent: curl/7.88.1",
        "Accept: */*",
        f"Authorization: {key}",
        f"Content-Length: {len(body)}",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        *(["Expect: 100-continue"] if len(body) > EXPECT_ABOVE else []),
    ]
    return CurlRequest(("\r\n".join(lines) + "\r\n\r\n").encode(), body)


def translation(host: str, key: str, audio: bytes, filename: str = "clip.wav") -> CurlRequest:
    """The same for the other task."""
    return transcription(host, key, audio, filename, path="/v1/audio/translations")
