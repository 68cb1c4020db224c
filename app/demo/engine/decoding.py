"""Decodes a file in any of the listed containers to PCM with PyAV."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import chain, groupby
from types import TracebackType
from typing import BinaryIO, Self

import av
from av.audio.frame import AudioFrame

SAMPLE_RATE = 16_000
BYTES_PER_SECOND = 2 * SAMPLE_RATE

# FFmpeg's names of the accepted containers, and of MPEG audio without one. Playlists are not listed: they would let
# an upload make FFmpeg open other files and addresses.
CONTAINERS = "flac,mp3,mov,mp4,m4a,mpeg,mpegvideo,ogg,wav,w64,matroska,webm,aac"


class UnreadableAudio(Exception):
    """The engine cannot decode audio from the file."""


class Audio:
    """The audio of a file: 16 kHz mono, signed 16-bit samples in the machine's byte order, in chunks of bytes.

    Raises UnreadableAudio on creation if the first sample cannot be decoded, and never later: damage in the middle of a
    file costs only the damaged samples.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._bytes = 0
        try:
            self._container = av.open(file, mode="r", options={"format_whitelist": CONTAINERS})
        except (av.FFmpegError, OSError, ValueError) as error:
            raise UnreadableAudio("the engine cannot decode the file's format") from error
        self._chunks = self._decode()
        try:
            self._first = next(self._chunks)
        except StopIteration:
            self._container.close()
            raise UnreadableAudio("the file has no audio that the engine can decode") from None

    def __iter__(self) -> Iterator[bytes]:
        for chunk in chain([self._first], self._chunks):
            self._bytes += len(chunk)
            yield chunk

    @property
    def seconds(self) -> float:
        """The length of the chunks that have been read so far."""
        return self._bytes / BYTES_PER_SECOND

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._chunks.close()
        self._container.close()

    def _decode(self) -> Generator[bytes, None, None]:
        # A resampler takes frames of one format; files that were joined end to end have several.
        for _, frames in groupby(self._frames(), _frame_format):
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


def _frame_format(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _samples(frame: AudioFrame) -> bytes:
    # FFmpeg pads a plane beyond its samples.
    return bytes(frame.planes[0])[: 2 * frame.samples]
