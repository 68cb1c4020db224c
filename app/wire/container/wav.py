"""RIFF WAVE (Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0"), RF64 and BW64 (ITU-R
BS.2088).

    "RIFF" size "WAVE"  { id(4) size(4, LE) payload [pad to even] } ...

`fmt ` tells bytes a second, `data` holds the audio. A streaming writer cannot go back to fill in the size of `data` and
leaves 0, FFFFFFFF or another number larger than the file: the audio then goes on to the end. RF64 and BW64 have
FFFFFFFF there and the real size in `ds64`. FFmpeg plays further `data` chunks after the first, and so they count.

The byte rate comes from the field of that name only where nothing better is at hand: PCM and the G.711 codecs have
channels x bytes x sample rate, and the block codecs tell how many samples a block has. Decoders read neither that
number nor the stated rate, so neither is believed above a byte for each sample, as PCM of 8 bits has it. MPEG audio in
a WAV is measured by its frames.
"""

import re
from collections.abc import Callable
from struct import Struct
from typing import Final

from app.wire.container.cursor import STEP, Cursor, Reading
from app.wire.container.evidence import Evidence
from app.wire.container.mp3 import Mp3Reader

_CHUNK: Final = re.compile(rb"[ -~]{4}.{4}", re.DOTALL)  # what has no name in ASCII is not a chunk any more
_UNKNOWN_SIZES: Final = frozenset({0, 0xFFFFFFFF})
_CHUNK_BYTES: Final = 8  # id and size
_PAYLOAD_BYTES: Final = 40  # as far as `fmt ` is looked at
_FORMAT: Final = Struct("<HHIIHH")
_EXTENSIBLE: Final = 0xFFFE
_SAMPLE_CODECS: Final = frozenset({1, 3, 6, 7})  # PCM, float, A-law, mu-law
_LOSSY_BYTES: Final = 1  # of a sample, at the most
_MPEG_CODECS: Final = frozenset({0x50, 0x55})
_BLOCK_CODECS: Final = frozenset({2, 0x11, 0x31})  # MS ADPCM, IMA ADPCM, GSM 6.10


def byte_rate(format_chunk: bytes) -> float | None:
    """Bytes of audio a second by a `fmt ` chunk's payload; None when it tells nothing usable."""
    if len(format_chunk) < _FORMAT.size:
        return None
    codec, channels, sample_rate, stated, block, bits = _FORMAT.unpack_from(format_chunk)
    if codec == _EXTENSIBLE and len(format_chunk) >= 26:
        codec = int.from_bytes(format_chunk[24:26], "little")  # the first field of the sub-format's GUID
    if codec in _SAMPLE_CODECS and channels and bits and sample_rate:
        return float(channels * -(-bits // 8) * sample_rate)
    if codec in _BLOCK_CODECS and len(format_chunk) >= 20 and block and sample_rate:
        samples = int.from_bytes(format_chunk[18:20], "little")
        stated = block * sample_rate / samples if samples else stated
    return float(min(stated, channels * _LOSSY_BYTES * sample_rate)) or None


class WavReader:
    """Adds up the bytes of the `data` chunks that are really there."""

    def __init__(self) -> None:
        self._rate: float | None = None
        self._long_size: int | None = None
        self._data: int | None = None
        self._frames: Mp3Reader | None = None
        self._taken: dict[bytes, Callable[[bytes], None]] = {b"fmt ": self._format, b"ds64": self._sizes}

    def read(self, cursor: Cursor) -> Reading[None]:
        cursor.skip(12)
        while _CHUNK.match(head := (yield _CHUNK_BYTES)):
            kind, size = head[:4], int.from_bytes(head[4:], "little")
            if kind == b"data":
                yield from self._audio(cursor, size)
                continue
            if take := self._taken.get(kind):
                take((yield _CHUNK_BYTES + min(size, _PAYLOAD_BYTES))[_CHUNK_BYTES:])
                cursor.spend(2 * STEP)
            cursor.skip(_CHUNK_BYTES + size + size % 2)

    def _format(self, payload: bytes) -> None:
        self._rate = byte_rate(payload)
        if int.from_bytes(payload[:2], "little") in _MPEG_CODECS:
            self._frames = Mp3Reader()

    def _sizes(self, payload: bytes) -> None:
        self._long_size = int.from_bytes(payload[8:16], "little")

    def _audio(self, cursor: Cursor, size: int) -> Reading[None]:
        if self._frames:
            cursor.skip(_CHUNK_BYTES)
            return (yield from self._frames.read(cursor))
        if size in _UNKNOWN_SIZES:
            size = self._long_size or 1 << 62
        cursor.spend(2 * STEP)
        there = yield from cursor.skipped(_CHUNK_BYTES + size + size % 2)
        self._data = (self._data or 0) + min(there - _CHUNK_BYTES, size)

    def evidence(self) -> Evidence:
        if self._frames:
            return self._frames.evidence()
        if self._rate is None:
            return Evidence()
        counted = None if self._data is None else self._data / self._rate
        return Evidence(counted=counted, bit_rate=self._rate * 8)
