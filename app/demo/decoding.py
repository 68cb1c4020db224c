"""A file of any of the nine containers in, PCM out, as it is decoded. Owns PyAV; knows no other module."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import chain, groupby
from types import TracebackType
from typing import BinaryIO, Self

import av
from av.audio.frame import AudioFrame

SAMPLE_RATE = 16_000
BYTES_PER_SECOND = 2 * SAMPLE_RATE

# FFmpeg's names of the nine containers, and of MPEG audio without one. Not having playlists and the like in this list
# keeps an upload from making FFmpeg open other files and addresses.
CONTAINERS = "flac,mp3,mov,mp4,m4a,mpeg,mpegvideo,ogg,wav,w64,matroska,webm,aac"


class UnreadableAudio(Exception):
    """The file is no audio that this engine can decode."""


class Audio:
    """The sound of a file, 16 kHz mono, signed 16-bit in the machine's order, in chunks of bytes.

    `seconds` is the length of what was handed out so far. Raises UnreadableAudio: at once when not one sample can be
    decoded, later never (damage in the middle of a file costs only what it hits).
    """

    def __init__(self, file: BinaryIO) -> None:
        self._bytes = 0
        try:
            self._container = av.open(file, mode="r", options={"format_whitelist": CONTAINERS})
        except (av.FFmpegError, OSError, ValueError) as error:
            raise UnreadableAudio("the file is in no format that can be decoded") from error
        self._chunks = self._decoded()
        try:
            self._first = next(self._chunks)
        except StopIteration:
            self._container.close()
            raise UnreadableAudio("the file holds no audio that can be decoded") from None

    def __iter__(self) -> Iterator[bytes]:
        for chunk in chain([self._first], self._chunks):
            self._bytes += len(chunk)
            yield chunk

    @property
    def seconds(self) -> float:
        return self._bytes / BYTES_PER_SECOND

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._chunks.close()
        self._container.close()

    def _decoded(self) -> Generator[bytes, None, None]:
        # A resampler takes frames of one shape, and files joined end to end have several.
        for _, frames in groupby(self._frames(), _shape):
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
            for frame in chain(frames, [None]):
                yield from (_samples(resampled) for resampled in resampler.resample(frame) if resampled.samples)

    def _frames(self) -> Iterator[AudioFrame]:
        if not self._container.streams.audio:
            return
        packets = self._container.demux(self._container.streams.audio[0])
        while True:
            try:
                yield from (frame for frame in next(packets).decode() if isinstance(frame, AudioFrame))
            except StopIteration:
                return
            except av.FFmpegError:
                continue


def _shape(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _samples(frame: AudioFrame) -> bytes:
    # A plane is padded beyond its samples.
    return bytes(frame.planes[0])[: 2 * frame.samples]
