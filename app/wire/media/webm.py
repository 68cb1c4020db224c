"""WebM (webmproject.org, "WebM Container Guidelines"), a profile of Matroska (RFC 9559) over EBML (RFC 8794).

The elements are walked as a flat row, `_OPENED` ones being entered: so clusters of unknown size, as MediaRecorder
writes them live, need no care, the next cluster being just the next element. Every block of sound is hopped over; its
time is the cluster's `Timestamp` plus an offset of 16 bits. The length is the last block's time less the first's, and
one block more: by its own `BlockDuration`, the track's `DefaultDuration`, or the step from the block before.
`Duration`, which a live file lacks, only states.

All of these are claims. What a decoder plays is in the packets: their first bytes show it for Opus and Vorbis, the two
codecs that WebM has (see `packets`). A packet of another codec counts 20 ms, and so does one that is compressed, or
laced together with others in a block.

A second `Segment` (recordings set one behind the other) starts again when it has tracks, and both add up.

Decoders go on at the next cluster where an element is broken or does not fit; so does the reader.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from struct import unpack
from typing import Final

from app.wire.media.cursor import STEP, Cursor, Reading
from app.wire.media.ebml import WIDTHS, element
from app.wire.media.evidence import Evidence
from app.wire.media.packets import OPUS_FRAMES, OPUS_RATE, OPUS_SAMPLES, opus_samples, vorbis_samples

_SEGMENT: Final = 0x18538067
_CLUSTER_ID: Final = 0x1F43B675
_CLUSTER: Final = _CLUSTER_ID.to_bytes(4, "big")
_TRACK_ENTRY: Final = 0xAE
_BLOCK_GROUP: Final = 0xA0
_SIMPLE_BLOCK: Final = 0xA3
_OPENED: Final = frozenset({_SEGMENT, 0x1549A966, 0x1654AE6B, _TRACK_ENTRY, _CLUSTER_ID, _BLOCK_GROUP})
_LEAST_BODY: Final = 5  # of a block with a packet of one byte, as Opus has them in silence
_BLOCK_BYTES: Final = 9  # of a block with a size of two bytes, up to its packet's second byte
_BLOCK_WORK: Final = 6  # below its length
_HEAD_BYTES: Final = 24  # a header (12) and the beginning of a block (11), or a leaf of 8 bytes
_SOUND: Final = 2
_MOST_TRACKS: Final = 32
_LONGEST_STEP: Final = 1.0  # seconds; Opus packets last 120 ms, and in silence come every 400 ms
_NANOSECONDS: Final = 1_000_000_000
_CODEC_PRIVATE: Final = 0x63A2
_OF_TRACK: Final = frozenset({0xD7, 0x83, 0x86, _CODEC_PRIVATE, 0x6D80, 0x23E383})  # mean nothing elsewhere
_LARGE: Final = 2_048  # bytes, of an element
_NO_END: Final = 1 << 62
_PRIVATE_BYTES: Final = 64  # as far as a Vorbis identification header goes
_LACING: Final = 0x06  # in a block's flags
_PACKETS_A_SECOND: Final = 50  # of other codecs
_ANY_PACKET: Final = (OPUS_RATE // _PACKETS_A_SECOND,) * 256
_OPUS_BIT_RATE: Final = 512_000  # for one or two channels; RFC 6716, 2.1.1


@dataclass(slots=True)
class _Track:
    """A `TrackEntry`, and the times of its blocks in units of the segment's `TimestampScale`."""

    number: int = 0
    kind: int = 0
    default_duration: int = 0  # nanoseconds
    blocks: int = 0
    first: int = 0
    last: int = 0
    step: int = 0
    block_duration: int = 0
    table: tuple[int, ...] = _ANY_PACKET  # samples of a packet by its first byte; 0 where that is not enough
    sample_rate: int = OPUS_RATE
    samples: int = 0
    opus: bool = False
    codec: bytes = b""
    private: bytes = b""
    encoded: bool = False

    @property
    def needed(self) -> float:
        return self.samples / self.sample_rate

    def packet(self, head: bytes) -> None:
        """Add what a decoder plays of a block, by its flags and the first bytes behind them."""
        if len(head) < 2:
            return
        if head[0] & _LACING:
            self.samples += (head[1] + 1) * self.sample_rate // _PACKETS_A_SECOND
        else:
            self.samples += opus_samples(head[1:3]) if self.opus else self.table[head[1]]

    def describe(self, codec: bytes | None = None, private: bytes | None = None, encoded: bool = False) -> None:
        """Take in `CodecID`, `CodecPrivate` or `ContentEncodings`, which come in any order."""
        self.codec = self.codec if codec is None else codec
        self.private = self.private if private is None else private
        self.encoded = self.encoded or encoded
        identification = self.private[max(0, self.private.find(b"\x01vorbis")) :]
        rate = int.from_bytes(identification[12:16], "little")
        self.opus = self.codec == b"A_OPUS" and not self.encoded
        self.sample_rate, self.table = OPUS_RATE, OPUS_SAMPLES if self.opus else _ANY_PACKET
        if self.codec == b"A_VORBIS" and rate and not self.encoded:
            self.sample_rate, self.table = rate, vorbis_samples(identification)

    @property
    def channels(self) -> int:
        """Channels by an OpusHead."""
        return self.private[9] if self.private.startswith(b"OpusHead") and len(self.private) > 9 else 0

    def block(self, time: int) -> None:
        if not self.blocks:
            self.first = self.last = time
        elif time > self.last:
            self.step, self.last = time - self.last, time
        self.blocks += 1
        self.block_duration = 0

    def seconds(self, scale: int) -> float:
        unit = scale / _NANOSECONDS
        last = self.block_duration * unit or self.default_duration / _NANOSECONDS or self.step * unit
        return (self.last - self.first) * unit + min(last, _LONGEST_STEP)


class WebmReader:
    """Follows the times of the blocks of sound."""

    def __init__(self) -> None:
        self._scale = 1_000_000
        self._duration = 0.0
        self._tracks: list[_Track] = []
        self._track = _Track()
        self._by_number: dict[int, _Track] = {}
        self._passing: _Track | None = None  # whose block was passed last
        self._cluster = 0
        self._earlier = 0.0
        self._earlier_blocks = 0
        self._earlier_needed = 0.0
        self._former: dict[int, _Track] = {}
        self._segment_begins = False
        self._cluster_end = self._track_end = 0
        self._leaves: dict[int, Callable[[bytes], None]] = {
            0x2AD7B1: self._timestamp_scale,
            0x4489: self._stated,
            0xD7: self._track_number,
            0x83: self._track_kind,
            0x86: self._codec,
            _CODEC_PRIVATE: self._private,
            0x6D80: self._encoded,
            0x23E383: self._default_duration,
            0xE7: self._cluster_time,
            _SIMPLE_BLOCK: self._block,
            0xA1: self._block,
            0x9B: self._block_duration,
        }

    def read(self, cursor: Cursor) -> Reading[None]:
        while True:
            yield from self._elements(cursor)
            cursor.skip(1)
            if not (yield from cursor.pass_until(_CLUSTER, _NO_END)):
                return

    def _elements(self, cursor: Cursor) -> Reading[None]:
        """Walk the elements, up to what is none or does not fit into its cluster."""
        while found := element(head := (yield _HEAD_BYTES)):
            kind, size, header = found
            end = cursor.position + header + (size or 0)
            if kind in _OPENED:
                self._open(kind, _NO_END if size is None else end)
                cursor.skip(header, 2 * STEP if kind == _TRACK_ENTRY else STEP)
            elif size is None or cursor.position < self._cluster_end < end:
                return
            elif kind == _SIMPLE_BLOCK and self._passing and self._pass_blocks(cursor, self._passing):
                continue
            else:
                if leaf := self._leaves.get(kind):
                    if kind == _CODEC_PRIVATE:
                        head = yield header + min(size, _PRIVATE_BYTES)
                    if kind not in _OF_TRACK or cursor.position < self._track_end:
                        leaf(head[header : header + size])
                cursor.skip(header, 2 * STEP if leaf else STEP)
                yield from self._pass(cursor, size)

    def _pass(self, cursor: Cursor, size: int) -> Reading[None]:
        """Pass a payload; a large one up to a cluster in it, as decoders do where it does not fit into the file."""
        if size > _LARGE:
            yield from cursor.pass_until(_CLUSTER, size)
        else:
            cursor.skip(size, 0)

    def _open(self, kind: int, end: int) -> None:
        if kind == _SEGMENT:
            self._segment_begins = True
        elif kind == _CLUSTER_ID:
            self._cluster_end, self._track_end = end, 0
        elif kind == _TRACK_ENTRY:
            if self._segment_begins:
                self._next_segment()
            self._track, self._track_end = _Track(), end
            if len(self._tracks) < _MOST_TRACKS:
                self._tracks.append(self._track)

    def _next_segment(self) -> None:
        """Begin with other tracks. Blocks of a number that was sound before, and no longer is, still count."""
        self._earlier, self._earlier_blocks = self._earlier + self._link(), self._blocks()
        self._earlier_needed += self._needed()
        for track in self._sound()[:_MOST_TRACKS]:
            if len(self._former) < _MOST_TRACKS:
                self._former.setdefault(track.number, replace(track, samples=0, blocks=0))
        self._tracks, self._by_number, self._passing, self._segment_begins = [], {}, None, False

    def _timestamp_scale(self, value: bytes) -> None:
        self._scale = int.from_bytes(value, "big") or self._scale

    def _stated(self, value: bytes) -> None:
        if len(value) in (4, 8):
            (duration,) = unpack(">f" if len(value) == 4 else ">d", value)
            self._duration = duration if math.isfinite(duration) and duration > 0 else 0.0

    def _track_number(self, value: bytes) -> None:
        self._track.number = int.from_bytes(value, "big")
        if len(self._by_number) < _MOST_TRACKS:
            self._by_number.setdefault(self._track.number, self._track)

    def _track_kind(self, value: bytes) -> None:
        self._track.kind = int.from_bytes(value, "big")

    def _codec(self, value: bytes) -> None:
        self._track.describe(codec=value.rstrip(b"\0"))

    def _private(self, value: bytes) -> None:
        self._track.describe(private=value)

    def _encoded(self, value: bytes) -> None:
        self._track.describe(encoded=True)

    def _default_duration(self, value: bytes) -> None:
        self._track.default_duration = int.from_bytes(value, "big")

    def _cluster_time(self, value: bytes) -> None:
        self._cluster = int.from_bytes(value, "big")

    def _block(self, value: bytes) -> None:
        width = WIDTHS[value[0]] if value else 9
        if width > 8 or len(value) < width + 2:
            return
        number = int.from_bytes(value[:width], "big") ^ 1 << 7 * width
        offset = int.from_bytes(value[width : width + 2], "big", signed=True)
        track = self._by_number.get(number)
        self._passing = track if track and track.kind == _SOUND else self._former.get(number, track)
        if self._passing:
            self._passing.block(self._cluster + offset)
            self._passing.packet(value[width + 2 : width + 5])

    def _pass_blocks(self, cursor: Cursor, track: _Track) -> int:
        """Pass the blocks of this track that follow in the window; returns how many.

        The one loop that turns for every packet, hence on the bare window, and for the plainest form of a block only: a
        size of one or two bytes, a track number of one, no time before the cluster's. It leaves all others to `read`.
        """
        window, at, number = cursor.window, cursor.at, track.number + 0x80  # above 255: no byte is like it
        end = len(window) - _BLOCK_BYTES
        place = cursor.position
        limit = at + self._cluster_end - place if place < self._cluster_end else _NO_END
        last, step, blocks = track.last - self._cluster, track.step, 0
        table, samples, opus = track.table, 0, track.opus
        while at <= end and window[at] == _SIMPLE_BLOCK:
            size, body = window[at + 1], at + 2
            if 0x40 <= size < 0x80:
                size, body = size << 8 | window[body], body + 1
                size = size - 0x4000 if size < 0x7FFF else 0
            else:
                size = size - 0x80 if size < 0xFF else 0
            time = window[body + 1] << 8 | window[body + 2]
            packet = table[window[body + 4]]
            if not packet and opus:
                packet = OPUS_FRAMES[window[body + 4]] * (window[body + 5] & 0x3F)
            if (
                not _LEAST_BODY <= size <= _LARGE
                or body + size > limit
                or window[body] != number
                or time >= 0x8000
                or window[body + 3] & _LACING
                or not packet
            ):
                break
            samples += packet
            if time > last:
                step, last = time - last, time
            blocks += 1
            at = body + size
        if blocks:
            track.last, track.step, track.block_duration = last + self._cluster, step, 0
            track.blocks += blocks
            track.samples += samples
            cursor.skip(at - cursor.at, blocks * _BLOCK_WORK)
        return blocks

    def _block_duration(self, value: bytes) -> None:
        if self._passing:
            self._passing.block_duration = int.from_bytes(value, "big")

    def _link(self) -> float:
        return max((track.seconds(self._scale) for track in self._sound() if track.blocks), default=0.0)

    def _sound(self) -> list[_Track]:
        return [track for track in self._tracks if track.kind == _SOUND]

    def _blocks(self) -> int:
        return self._earlier_blocks + sum(track.blocks for track in self._sound())

    def _needed(self) -> float:
        return max((track.needed for track in self._sound()), default=0.0)

    def _former_needed(self) -> float:
        return max((track.needed for track in self._former.values()), default=0.0)

    def _highest_bit_rate(self) -> float | None:
        """The codec's own bound, if all tracks are Opus in one or two channels."""
        alone = self._tracks and all(track.opus and 1 <= track.channels <= 2 for track in self._tracks)
        return _OPUS_BIT_RATE if alone else None

    def evidence(self) -> Evidence:
        return Evidence(
            stated=self._duration * self._scale / _NANOSECONDS or None,
            counted=self._earlier + self._link() or None,
            needed=self._earlier_needed + self._needed() + self._former_needed() or None,
            highest_bit_rate=self._highest_bit_rate(),
            packets=self._blocks(),
        )
