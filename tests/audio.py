"""Creates audio files for tests with PyAV: a tone with some noise, in any container and codec of FFmpeg."""

import io
import math
import random
import tempfile
from array import array
from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

_FRAME_SAMPLES = 1024


def make(
    container: str,
    codec: str,
    seconds: float,
    sample_rate: int = 16_000,
    channels: int = 1,
    *,
    bit_rate: int | None = None,
    codec_options: tuple[tuple[str, str], ...] = (),
    options: tuple[tuple[str, str], ...] = (),
    seekable: bool = True,
) -> bytes:
    """One audio file.

    container: an FFmpeg muxer (`wav`, `flac`, `mp3`, `ogg`, `ipod`, `mp4`, `webm`, `mpeg`, ...), with muxer `options`.
    codec: an FFmpeg encoder (`pcm_s16le`, `libmp3lame`, `libopus`, ...), with `codec_options`.
    seekable: False makes the muxer write into a pipe, so that it cannot fill in lengths afterwards.
    """
    return _make(container, codec, seconds, sample_rate, channels, bit_rate, codec_options, options, seekable)


class _Pipe(io.RawIOBase):
    """A writer that cannot seek."""

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self.written += piece
        return len(piece)


@cache
def _make(
    container: str,
    codec: str,
    seconds: float,
    sample_rate: int,
    channels: int,
    bit_rate: int | None,
    codec_options: tuple[tuple[str, str], ...],
    options: tuple[tuple[str, str], ...],
    seekable: bool,
) -> bytes:
    pipe = _Pipe()
    with tempfile.NamedTemporaryFile() as file:  # by name, because `faststart` opens the file a second time
        target: Any = file.name if seekable else pipe
        with av.open(target, mode="w", format=container, container_options=dict(options)) as output:
            stream = cast(AudioStream, output.add_stream(codec, rate=sample_rate, options=dict(codec_options)))
            stream.layout = "mono" if channels == 1 else "stereo"
            if bit_rate is not None:
                stream.bit_rate = bit_rate
            resampler = AudioResampler(stream.format, stream.layout, sample_rate)
            for frame in _frames(seconds, sample_rate, channels):
                for converted in resampler.resample(frame):
                    output.mux(stream.encode(converted))
            output.mux(stream.encode(None))
        return file.read() if seekable else bytes(pipe.written)


def _frames(seconds: float, sample_rate: int, channels: int) -> Iterator[AudioFrame]:
    samples = _signal(round(seconds * sample_rate), sample_rate, channels)
    for at in range(0, len(samples), _FRAME_SAMPLES * channels):
        piece = samples[at : at + _FRAME_SAMPLES * channels]
        frame = AudioFrame(format="s16", layout="mono" if channels == 1 else "stereo", samples=len(piece) // channels)
        frame.planes[0].update(piece.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate = sample_rate
        frame.pts = at // channels
        yield frame


def _signal(count: int, sample_rate: int, channels: int) -> "array[int]":
    """One second of 440 Hz and noise, repeated."""
    noise = random.Random(0)
    second = array("h")
    for at in range(sample_rate):
        value = round(9_000 * math.sin(2 * math.pi * 440 * at / sample_rate)) + noise.randint(-800, 800)
        second.extend([value] * channels)
    return (second * (count // sample_rate + 1))[: count * channels]


def duration(data: bytes) -> float:
    """Seconds of audio that FFmpeg decodes from a file: the reference for the meter."""
    total = 0.0
    with av.open(io.BytesIO(data), mode="r") as file:
        for frame in file.decode(audio=0):
            total += frame.samples / frame.sample_rate
    return total
