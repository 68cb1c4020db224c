"""FLAC (RFC 9639).

    "fLaC" { last(1 bit) type(7) length(24) payload } ... frames

STREAMINFO (8.2), always the first metadata block, states the sample rate and the number of samples. An encoder that
writes to a pipe leaves that number 0, and a file that was cut still has it. Frames (9.1) do not state their length, but
each has a header of up to 16 bytes with its own CRC-8. So the reader finds frames by their sync code. A header counts
if its fields are valid and agree with STREAMINFO, and its CRC-8 matches: noise passes these checks once in about a
thousand files of 25 MiB.

The length is the sum of the block sizes, not the frame numbers in the headers: decoders play every frame, whatever its
number. They also play a frame at the sample rate of its own header. So frames that disagree with STREAMINFO are not
counted, as they may be noise, but they add to what a decoder plays.
"""

import re
from typing import Final, NamedTuple

from app.wire.media.containers import mp3
from app.wire.media.cursor import STEP, Cursor, Reading
from app.wire.media.evidence import Evidence
from app.wire.media.formats import HeaderMissing, Recognised

_STREAMINFO_BYTES: Final = 34
_MAX_HEADER_BYTES: Final = 16
_MIN_HEADER_BYTES: Final = 6
# A header of 6 bytes, a constant subframe of a byte of header and one of value, CRC-16; minus one for safety.
_MIN_FRAME_BYTES: Final = 9

# 15 sync bits, blocking strategy | block size not 0, rate | channels below 11, depth, reserved 0
_SYNC: Final = re.compile(rb"\xff[\xf8\xf9][\x10-\xff][\x00-\xaf]", re.DOTALL)
_SYNC_BYTES: Final = 4
_HEADER_WORK: Final = 3 * STEP

_BLOCK_SIZES: Final = (0, 192, *(576 << n for n in range(4)), 0, 0, *(256 << n for n in range(8)))
_SAMPLE_RATES: Final = (0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
_SAMPLE_BITS: Final = (0, 8, 12, -1, 16, 20, 24, 32)


def _crc8_table() -> bytes:
    table = bytearray()
    for value in range(256):
        for _ in range(8):
            value = value << 1 ^ (0x07 if value & 0x80 else 0)
        table.append(value & 0xFF)
    return bytes(table)


_CRC8: Final = _crc8_table()


def crc8(data: bytes) -> int:
    """The CRC-8 of a frame header (polynomial x^8 + x^2 + x + 1)."""
    crc = 0
    for byte in data:
        crc = _CRC8[crc ^ byte]
    return crc


class FrameHeader(NamedTuple):
    """The fields of a frame header; a sample rate or depth of 0 means that of STREAMINFO."""

    samples: int
    sample_rate: int
    sample_bits: int


def frame_header(header: bytes) -> FrameHeader | None:
    """The frame header in these 16 bytes; None if they are not one."""
    if len(header) < _MIN_HEADER_BYTES or not _SYNC.match(header):
        return None
    size_code, rate_code, bits_code = header[2] >> 4, header[2] & 0x0F, header[3] >> 1 & 7
    size_at = 4 + _number_bytes(header[4])
    rate_at = size_at + {6: 1, 7: 2}.get(size_code, 0)
    crc_at = rate_at + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if header[3] & 1 or rate_code == 15 or bits_code == 3 or crc_at >= len(header):
        return None
    if crc8(header[:crc_at]) != header[crc_at]:
        return None
    samples = _BLOCK_SIZES[size_code] or int.from_bytes(header[size_at:rate_at], "big") + 1
    unit = {12: 1000, 13: 1, 14: 10}.get(rate_code, 0)
    rate = unit * int.from_bytes(header[rate_at:crc_at], "big") if unit else _SAMPLE_RATES[rate_code]
    return FrameHeader(samples, rate, _SAMPLE_BITS[bits_code])


def recognise(cursor: Cursor) -> Reading[Recognised]:
    """FLAC without its header if a frame begins here; the sync bytes alone could also be AAC in ADTS."""
    if frame_header((yield _MAX_HEADER_BYTES)):
        return HeaderMissing("FLAC")
    return (yield from mp3.recognise(cursor))


class FlacReader:
    """Reads STREAMINFO and adds up the frames."""

    def __init__(self) -> None:
        self._sample_rate = 0
        self._sample_bits = 0
        self._channels = 0
        self._stated_samples = 0
        self._samples = 0
        self._frames = 0
        self._disagreeing_seconds = 0.0  # of frames that disagree with STREAMINFO

    def read(self, cursor: Cursor) -> Reading[None]:
        cursor.skip(4)
        last = False
        while not last and len(head := (yield 4)) == 4:
            last = head[0] >= 0x80
            cursor.skip(4)
            if head[0] & 0x7F == 0 and not self._sample_rate:
                self._read_stream_info((yield _STREAMINFO_BYTES))
                cursor.spend(STEP)
            cursor.skip(int.from_bytes(head[1:], "big"))
        if self._sample_rate:
            yield from self._read_frames(cursor)

    def _read_stream_info(self, block: bytes) -> None:
        packed = int.from_bytes(block[10:18], "big")  # rate 20 bits, channels 3, depth 5, samples 36
        self._sample_rate = packed >> 44
        self._channels = (packed >> 41 & 7) + 1
        self._sample_bits = (packed >> 36 & 0x1F) + 1
        self._stated_samples = packed & 0xFFFFFFFFF

    def _read_frames(self, cursor: Cursor) -> Reading[None]:
        while (yield from cursor.find(_SYNC, _SYNC_BYTES)):
            header = yield _MAX_HEADER_BYTES
            if not header:
                return
            frame = frame_header(header)
            if frame:
                self._add(frame)
            cursor.skip(_MIN_FRAME_BYTES if frame else 1, _HEADER_WORK)

    def _add(self, frame: FrameHeader) -> None:
        agrees = frame.sample_rate in (0, self._sample_rate) and frame.sample_bits in (0, self._sample_bits)
        if agrees:
            self._samples += frame.samples
        else:
            self._disagreeing_seconds += frame.samples / (frame.sample_rate or self._sample_rate)
        self._frames += 1

    def evidence(self) -> Evidence:
        if not self._sample_rate:
            return Evidence()
        counted = self._samples / self._sample_rate
        return Evidence(
            stated=self._stated_samples / self._sample_rate or None,
            counted=counted or None,
            needed=counted + self._disagreeing_seconds or None,
            highest_bit_rate=self._sample_rate * self._channels * self._sample_bits,
            packets=self._frames,
        )


def _number_bytes(first: int) -> int:
    """The bytes of a frame or sample number that begins with `first` (UTF-8, extended to 36 bits)."""
    return 1 if first < 0x80 else 8 - (first ^ 0xFF).bit_length()
