"""MPEG audio, layers I to III (ISO/IEC 11172-3, 13818-3, and the MPEG 2.5 extension of Fraunhofer).

    11111111 111VVLLP BBBBSSpx ....   version, layer, no CRC | bit rate, sample rate, padding, private

The header of a frame gives the frame's length, and each frame has a fixed number of samples. So the reader measures a
file by going from header to header, for constant and variable bit rates, with or without a stated number of frames. At
other bytes (a tag, a picture in a tag, garbage), it resumes at the next two consecutive headers that agree in version,
layer and rate: a single header occurs in any noise. Decoders also play a single frame of the same stream, so single
frames are not counted but add to what a decoder plays.

The first frame may have no audio but a `Xing`/`Info` (LAME) or `VBRI` (Fraunhofer) header, which states the number of
frames that follow. LAME adds the samples of silence before and after the sound, which players cut off.

Not accepted: free-format frames (bit rate 0, without a length), and layer 00, which is AAC in ADTS.
"""

import re
from typing import Final, NamedTuple

from app.wire.media.cursor import STEP, Cursor, Reading
from app.wire.media.evidence import Evidence
from app.wire.media.formats import Container, Recognised


class Frame(NamedTuple):
    """A frame by its header: its length in bytes, its time in ticks, its samples a second."""

    length: int
    ticks: int
    sample_rate: int


# kbit/s by (MPEG-1 or not, layer), bit rate index 1 to 14
_BIT_RATES: Final = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES: Final = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_TICKS: Final = 14_112_000  # a second; the least common multiple of the rates, so that sums are exact in any order
_LAYERS: Final = {3: 1, 2: 2, 1: 3}  # by the layer bits

_SYNC: Final = re.compile(rb"\xff[\xe2-\xe7\xf2-\xff][\x10-\xef]", re.DOTALL)
_SYNC_BYTES: Final = 3
_SAME_STREAM: Final = 0xFFFE0C  # version, layer and sample rate, but neither CRC nor bit rate
_FRAME_WORK: Final = 8  # below the length of every frame, which is 24 bytes or more
_RESYNC_WORK: Final = 3 * STEP
_CONSECUTIVE_FRAMES: Final = 4  # noise has two in a few of a thousand heads, and four in none
_FIRST_BYTES: Final = 192  # the longest side information (36) and LAME's header (156)


def _frame(second: int, third: int) -> Frame | None:
    version, layer = second >> 3 & 3, _LAYERS.get(second >> 1 & 3)
    index, rate_index, padding = third >> 4, third >> 2 & 3, third >> 1 & 1
    if layer is None or version not in _SAMPLE_RATES or not 0 < index < 15 or rate_index == 3:
        return None
    bit_rate = _BIT_RATES[version == 3, layer][index - 1] * 1000
    sample_rate = _SAMPLE_RATES[version][rate_index]
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    slot = 4 if layer == 1 else 1
    length = (samples // 8 // slot * bit_rate // sample_rate + padding) * slot
    return Frame(length, samples * _TICKS // sample_rate, sample_rate)


FRAMES: Final[dict[bytes, Frame]] = {
    bytes((0xFF, second, third)): frame
    for second in range(0xE0, 0x100)
    for third in range(256)
    if (frame := _frame(second, third))
}
"""All valid headers by their first three bytes: with one look-up for each frame, 25 MiB take about 10 ms."""


def same_stream(one: bytes, other: bytes) -> bool:
    """Whether frames with these two headers can follow each other."""
    differ = int.from_bytes(one[:3], "big") ^ int.from_bytes(other[:3], "big")
    return other[:3] in FRAMES and not differ & _SAME_STREAM


def recognise(cursor: Cursor) -> Reading[Recognised]:
    """MP3 if two headers agree, or if the file ends or a tag begins after its only frame."""
    head = yield 4
    if (frame := FRAMES.get(head[:3])) is None:
        return "AAC (ADTS)" if head[1] & 0xF6 == 0xF0 else (yield from recognise_cut(cursor))
    both = yield frame.length + 3
    following = both[frame.length :]
    only_one = len(following) < 3 or following in (b"TAG", b"APE")
    if only_one or same_stream(head, following):
        return Container.MP3
    return (yield from recognise_cut(cursor))


def recognise_cut(cursor: Cursor) -> Reading[Recognised]:
    """MP3 if frames follow in the head: a file cut from a stream begins in the middle of a frame."""
    while (yield from cursor.find(_SYNC, _SYNC_BYTES)):
        if (yield from _frames_follow()):
            return Container.MP3
        cursor.skip(1, _RESYNC_WORK)
    return ""


def _frames_follow() -> Reading[bool]:
    """Whether several consecutive frames begin at the cursor."""
    at = 0
    seen = yield _SYNC_BYTES
    for _ in range(_CONSECUTIVE_FRAMES - 1):
        head = seen[at:]
        if (frame := FRAMES.get(head)) is None:
            return False
        at += frame.length
        seen = yield at + _SYNC_BYTES
        if not same_stream(head, seen[at:]):
            return False
    return True


class Mp3Reader:
    """Adds up the frames."""

    def __init__(self) -> None:
        self._ticks = 0
        self._frames = 0
        self._stated: float | None = None
        self._silence = 0.0  # seconds that players cut off
        self._highest_bit_rate: float | None = None
        self._stream = b""  # the header of a frame of the current stream
        self._single_ticks = 0
        self._single_until = 0

    def read(self, cursor: Cursor) -> Reading[None]:
        first = yield _FIRST_BYTES
        if frame := FRAMES.get(first[:3]):
            self._stream = first[:3]
            self._highest_bit_rate = _BIT_RATES[first[1] >> 3 & 3 == 3, _LAYERS[first[1] >> 1 & 3]][-1] * 1000.0
            self._read_first(cursor, frame, first)
        while True:
            yield from self._pass_frames(cursor)
            if not (yield from self._resync(cursor)):
                return

    def _read_first(self, cursor: Cursor, frame: Frame, first: bytes) -> None:
        frames, silence = stated_frames(first[: frame.length])
        if frames is not None:
            self._silence = silence / frame.sample_rate
            self._stated = max(0.0, frames * frame.ticks / _TICKS - self._silence) or None
            cursor.skip(frame.length)

    def _pass_frames(self, cursor: Cursor) -> Reading[None]:
        """Passes frames up to other bytes. This loop turns for every frame, so it runs on the bare window."""
        window, at, ticks, frames = cursor.window, cursor.at, 0, 0
        while True:
            frame = FRAMES.get(window[at : at + 3])
            if frame is not None:
                at, ticks, frames = at + frame[0], ticks + frame[1], frames + 1
                continue
            self._ticks += ticks
            self._frames += frames
            cursor.skip(at - cursor.at, frames * _FRAME_WORK)
            if (yield 3) not in FRAMES:
                return
            window, at, ticks, frames = cursor.window, cursor.at, 0, 0

    def _resync(self, cursor: Cursor) -> Reading[bool]:
        """Passes bytes up to two consecutive frames; returns whether there are any."""
        while (yield from cursor.find(_SYNC, _SYNC_BYTES)):
            head = yield 3
            if not head:
                return False
            if frame := FRAMES.get(head):
                both = yield frame.length + 3
                if same_stream(head, both[frame.length :]):
                    self._stream = head
                    cursor.spend(_RESYNC_WORK)
                    return True
                if cursor.position >= self._single_until and same_stream(self._stream, head):
                    self._single_ticks += frame.ticks
                    self._single_until = cursor.position + frame.length
            cursor.skip(1, _RESYNC_WORK)
        return False

    def evidence(self) -> Evidence:
        counted = max(0.0, self._ticks / _TICKS - self._silence)
        needed = (self._ticks + self._single_ticks) / _TICKS
        return Evidence(
            stated=self._stated,
            counted=counted or None,
            needed=needed or None,
            highest_bit_rate=self._highest_bit_rate,
            packets=self._frames,
        )


def stated_frames(first: bytes) -> tuple[int | None, int]:
    """The number of frames that a first frame states, or None if it is audio; and LAME's samples of silence."""
    if first[36:40] == b"VBRI":
        return int.from_bytes(first[50:54], "big"), 0
    at = max(first.find(b"Xing", 0, 44), first.find(b"Info", 0, 44))
    if at < 0:
        return None, 0
    flags = int.from_bytes(first[at + 4 : at + 8], "big")
    frames = int.from_bytes(first[at + 8 : at + 12], "big") if flags & 1 else 0
    if flags & 0xF != 0xF or len(first) < at + 144:
        return frames, 0
    gaps = int.from_bytes(first[at + 141 : at + 144], "big")  # 12 bits of delay, 12 bits of padding
    return frames, (gaps >> 12) + (gaps & 0xFFF)
