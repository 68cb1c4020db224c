"""RIFF WAVE (Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0"), RF64 and BW64 (ITU-R
BS.2088).

    "RIFF" size "WAVE"  { id(4) size(4, LE) payload [pad to even] } ...

`fmt ` has the byte rate, `data` holds the audio. A streaming writer cannot fill in the size of `data` and leaves 0,
FFFFFFFF or another number larger than the file: the audio then continues to the end. RF64 and BW64 have FFFFFFFF there
and the real size in `ds64`. FFmpeg plays `data` chunks after the first, so they count.

Decoders do not read the byte rate from its field if the codec fixes it, so neither does this reader:

- PCM and float: channels x bytes of a sample x sample rate. In an extensible `fmt `, the valid bits decide, except for
  17 to 24 of 32. A-law and mu-law have 8 bits, whatever the header states.
- ADPCM: the samples that fit into a block, by the block's size, not by their own field (Microsoft, IMA); else 4 bits a
  sample. GSM 6.10: 65 bytes for 320 samples. G.722, G.726: by their bits a sample. G.723.1, TrueSpeech: their rate.
- MPEG audio: measured by its frames.
- Other codecs: the stated rate is an estimate, up to 320 kbit/s and one byte for each sample.

Decoders use the first `fmt `. If a later one contradicts it, the lower of the two rates gives an estimate.
"""

import re
from collections.abc import Callable
from struct import Struct
from typing import Final

from app.wire.media.containers.mp3 import Mp3Reader
from app.wire.media.cursor import STEP, TO_THE_END, Cursor, Reading
from app.wire.media.evidence import Evidence

_CHUNK: Final = re.compile(
    rb"[ -~]{4}.{4}", re.DOTALL
)  # after the audio, a chunk without an ASCII name is mostly garbage
_UNKNOWN_SIZES: Final = frozenset({0, 0xFFFFFFFF})
_CHUNK_BYTES: Final = 8  # id and size
_PAYLOAD_BYTES: Final = 40  # the part of `fmt ` and `ds64` that is read
_FORMAT: Final = Struct("<HHIIHH")
_EXTENSIBLE: Final = 0xFFFE
_PCM_CODECS: Final = frozenset({1, 3})
_SAMPLE_BYTES: Final = frozenset({1, 2, 3, 4, 8})  # that decoders support
_LOGARITHMIC_CODECS: Final = frozenset({6, 7})  # A-law, mu-law
_MS_ADPCM: Final = 2
_IMA_ADPCM: Final = 0x11
_GSM: Final = 0x31
_MAX_BYTE_RATES: Final = {0x42: 800, 0x22: 1_067}  # G.723.1, TrueSpeech
_ADPCM_BITS: Final = {0x28F: 4, 0x65: 4, 0x17: 4, 0x20: 4}  # of a sample: G.722, OKI, Yamaha
_G726: Final = frozenset({0x45, 0x64})
_MAX_OTHER_BYTE_RATE: Final = 40_000
_MPEG_CODECS: Final = frozenset({0x50, 0x55})


def byte_rate(format_chunk: bytes) -> tuple[float | None, bool]:
    """Bytes of audio a second, by the payload of `fmt `, and whether the codec fixes them. None if there is no rate."""
    if len(format_chunk) < _FORMAT.size:
        return None, False
    codec, channels, sample_rate, stated, block, bits = _FORMAT.unpack_from(format_chunk)
    if codec == _EXTENSIBLE and len(format_chunk) >= 26:
        codec = int.from_bytes(format_chunk[24:26], "little")  # the first field of the sub-format's GUID
        valid_bits = int.from_bytes(format_chunk[18:20], "little")
        bits = valid_bits if valid_bits and not 16 < valid_bits <= 24 else bits
    samples = float(channels * sample_rate)
    if codec in _PCM_CODECS:
        size = -(-bits // 8)
        return (samples * size or None, True) if size in _SAMPLE_BYTES else (None, False)
    rate = samples if codec in _LOGARITHMIC_CODECS else _block_rate(codec, channels, sample_rate, block, bits)
    if codec in _MAX_BYTE_RATES:
        rate = float(min(stated or _MAX_BYTE_RATES[codec], _MAX_BYTE_RATES[codec]))
    return (rate, True) if rate else (float(min(stated, samples, _MAX_OTHER_BYTE_RATE)) or None, False)


def _block_rate(codec: int, channels: int, sample_rate: int, block: int, bits: int) -> float | None:
    """Bytes a second of a codec with a fixed number of samples in a block or byte; None for other codecs."""
    if codec == _GSM:
        return sample_rate * 65 / 320
    if codec == _MS_ADPCM and channels and block > 7 * channels:
        return block * sample_rate / ((block - 7 * channels) * 2 // channels + 2)
    if codec == _IMA_ADPCM and channels and block > 4 * channels and bits:
        return block * sample_rate / ((block - 4 * channels) * 8 // (bits * channels) + 1)
    if codec in _G726:
        return sample_rate * channels * (bits if 2 <= bits <= 5 else 5) / 8
    return sample_rate * channels * _ADPCM_BITS[codec] / 8 if codec in _ADPCM_BITS else None


class WavReader:
    """Adds up the bytes of the `data` chunks that are present."""

    def __init__(self) -> None:
        self._rate: float | None = None
        self._exact = True
        self._has_format = False
        self._long_size: int | None = None
        self._audio_bytes: int | None = None
        self._mpeg_reader: Mp3Reader | None = None
        self._chunk_readers: dict[bytes, Callable[[bytes], None]] = {b"fmt ": self._format, b"ds64": self._sizes}

    def read(self, cursor: Cursor) -> Reading[None]:
        cursor.skip(12)
        while len(head := (yield _CHUNK_BYTES)) == _CHUNK_BYTES:
            if self._audio_bytes is not None and not _CHUNK.match(head):
                if not (yield from cursor.pass_until(b"data", TO_THE_END)):
                    return
                self._exact = False
                continue
            kind, size = head[:4], int.from_bytes(head[4:], "little")
            if kind == b"data":
                yield from self._audio(cursor, size)
                continue
            if read_chunk := self._chunk_readers.get(kind):
                read_chunk((yield _CHUNK_BYTES + min(size, _PAYLOAD_BYTES))[_CHUNK_BYTES:])
                cursor.spend(2 * STEP)
            cursor.skip(_CHUNK_BYTES + size + size % 2)

    def _format(self, payload: bytes) -> None:
        rate, exact = byte_rate(payload)
        if not self._has_format:
            self._has_format, self._rate, self._exact = True, rate, exact
            if int.from_bytes(payload[:2], "little") in _MPEG_CODECS:
                self._mpeg_reader = Mp3Reader()
        elif rate and rate != self._rate:
            self._rate, self._exact = min(rate, self._rate or rate), False

    def _sizes(self, payload: bytes) -> None:
        self._long_size = int.from_bytes(payload[8:16], "little")

    def _audio(self, cursor: Cursor, size: int) -> Reading[None]:
        if self._mpeg_reader:
            cursor.skip(_CHUNK_BYTES)
            return (yield from self._mpeg_reader.read(cursor))
        if size in _UNKNOWN_SIZES:
            size = self._long_size or TO_THE_END
        cursor.spend(2 * STEP)
        present = yield from cursor.skipped(_CHUNK_BYTES + size + size % 2)
        self._audio_bytes = (self._audio_bytes or 0) + min(present - _CHUNK_BYTES, size)

    def evidence(self) -> Evidence:
        if self._mpeg_reader:
            return self._mpeg_reader.evidence()
        if self._rate is None:
            return Evidence()
        counted = None if self._audio_bytes is None else self._audio_bytes / self._rate
        return Evidence(counted=counted, audio_bytes=self._audio_bytes, bit_rate=self._rate * 8, exact=self._exact)
