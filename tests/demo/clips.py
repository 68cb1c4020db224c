"""The bundled sample as a file in each container that the API accepts."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass

import av

from app.demo import SAMPLE

WORDS = "hello my name is wolfgang and i come from germany where are you heading today"
SECONDS = 5.25


@dataclass(frozen=True)
class Encoding:
    """How PyAV writes a container: FFmpeg's names of muxer and encoder, and the bit rate for lossy encoders."""

    muxer: str
    encoder: str
    bit_rate: int = 64_000
    layout: str = "mono"


ENCODINGS = {
    "flac": Encoding("flac", "flac"),
    "mp3": Encoding("mp3", "libmp3lame"),
    "mp4": Encoding("mp4", "aac"),
    "mpeg": Encoding("mpeg", "mp2"),
    "mpga": Encoding("mp3", "libmp3lame", 48_000),
    "m4a": Encoding("ipod", "aac"),
    "ogg": Encoding("ogg", "vorbis", layout="stereo"),
    "oga": Encoding("ogg", "libopus"),
    "wav": Encoding("wav", "pcm_s16le"),
    "webm": Encoding("webm", "libopus"),
}


def clip(extension: str) -> bytes:
    """The sample in the container that `extension` names."""
    encoding = ENCODINGS[extension]
    file = io.BytesIO()
    with av.open(str(SAMPLE)) as source, av.open(file, mode="w", format=encoding.muxer) as target:
        # FFmpeg marks its own Vorbis encoder as experimental.
        stream = target.add_stream(encoding.encoder, 16_000, {"strict": "experimental"}, layout=encoding.layout)
        assert isinstance(stream, av.AudioStream)
        if not encoding.encoder.startswith("pcm"):
            stream.bit_rate = encoding.bit_rate
        for frame in source.decode(audio=0):
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return file.getvalue()


def silence(seconds: float) -> bytes:
    """A WAV file of digital silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(bytes(round(seconds * 32_000)))
    return file.getvalue()
