"""The walk over the elements of a WebM file.

The reader walks the elements as a flat sequence and enters those of `_ENTERED`. So clusters of unknown size, as
MediaRecorder writes them live, need no special care: the next cluster is the next element. The reader passes each block
of sound; its time is the cluster's `Timestamp` plus an offset of 16 bits. The length is the time of the last block
minus that of the first, plus one block: its own `BlockDuration`, the track's `DefaultDuration`, or the step from the
block before. `Duration`, which a live file lacks, is only stated.

All of these are claims. What a decoder plays is in the packets (see `track`).

A second `Segment` (recordings one after the other) starts again if it has tracks, and the lengths add up. Where an
element is broken or does not fit, decoders continue at the next cluster, and so does the reader.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from struct import unpack
from typing import Final

from app.wire.media.containers.packets import OPUS_FRAMES
from app.wire.media.containers.webm.ebml import WIDTHS, parse_element
from app.wire.media.containers.webm.track import LACING, Track
from app.wire.media.cursor import STEP, TO_THE_END, Cursor, Reading
from app.wire.media.evidence import Evidence

_SEGMENT: Final = 0x18538067
_CLUSTER: Final = 0x1F43B675
_CLUSTER_BYTES: Final = _CLUSTER.to_bytes(4, "big")
_TRACK_ENTRY: Final = 0xAE
_BLOCK_GROUP: Final = 0xA0
_SIMPLE_BLOCK: Final = 0xA3
_INFO: Final = 0x1549A966
_TRACKS: Final = 0x1654AE6B
_ENTERED: Final = frozenset({_SEGMENT, _INFO, _TRACKS, _TRACK_ENTRY, _CLUSTER, _BLOCK_GROUP})
_TRACK_NUMBER: Final = 0xD7
_TRACK_TYPE: Final = 0x83
_CODEC_ID: Final = 0x86
_CODEC_PRIVATE: Final = 0x63A2
_CONTENT_ENCODINGS: Final = 0x6D80
_DEFAULT_DURATION: Final = 0x23E383
_OF_TRACK: Final = frozenset(  # without meaning outside a `TrackEntry`
    {_TRACK_NUMBER, _TRACK_TYPE, _CODEC_ID, _CODEC_PRIVATE, _CONTENT_ENCODINGS, _DEFAULT_DURATION}
)
_MIN_BLOCK_BODY: Final = 5  # of a block with a packet of one byte, as Opus has in silence
_BLOCK_BYTES: Final = 9  # of a block with a size of two bytes, up to the second byte of its packet
_BLOCK_WORK: Final = 6  # below its length
_HEAD_BYTES: Final = 24  # a header (12) and the beginning of a block (11), or a value of 8 bytes
_MAX_TRACKS: Final = 32
_NANOSECONDS: Final = 1_000_000_000
_MAX_SMALL_ELEMENT: Final = 2_048  # bytes
_PRIVATE_BYTES: Final = 64  # as far as a Vorbis identification header goes
_OPUS_BIT_RATE: Final = 512_000  # for one or two channels; RFC 6716, 2.1.1


class WebmReader:
    """Follows the times of the blocks of sound."""

    def __init__(self) -> None:
        self._scale = 1_000_000
        self._duration = 0.0
        self._tracks: list[Track] = []
        self._track = Track()
        self._by_number: dict[int, Track] = {}
        self._block_track: Track | None = None  # of the last block
        self._cluster_timestamp = 0
        self._earlier_seconds = 0.0  # of the segments before
        self._earlier_blocks = 0
        self._earlier_needed = 0.0
        self._former: dict[int, Track] = {}
        self._segment_begins = False
        self._cluster_end = self._track_end = 0
        self._values: dict[int, Callable[[bytes], None]] = {
            0x2AD7B1: self._timestamp_scale,
            0x4489: self._stated_duration,
            _TRACK_NUMBER: self._track_number,
            _TRACK_TYPE: self._track_type,
            _CODEC_ID: self._codec_id,
            _CODEC_PRIVATE: self._codec_private,
            _CONTENT_ENCODINGS: self._content_encodings,
            _DEFAULT_DURATION: self._default_duration,
            0xE7: self._timestamp,
            _SIMPLE_BLOCK: self._block,
            0xA1: self._block,
            0x9B: self._block_duration,
        }

    def read(self, cursor: Cursor) -> Reading[None]:
        while True:
            yield from self._read_elements(cursor)
            cursor.skip(1)
            if not (yield from cursor.pass_until(_CLUSTER_BYTES, TO_THE_END)):
                return

    def _read_elements(self, cursor: Cursor) -> Reading[None]:
        """Walks the elements up to bytes that are no element, or to an element that does not fit into its cluster."""
        while element := parse_element(head := (yield _HEAD_BYTES)):
            kind, size, header = element
            end = cursor.position + header + (size or 0)
            if kind in _ENTERED:
                self._enter(kind, TO_THE_END if size is None else end)
                cursor.skip(header, 2 * STEP if kind == _TRACK_ENTRY else STEP)
            elif size is None or cursor.position < self._cluster_end < end:
                return
            elif kind == _SIMPLE_BLOCK and self._block_track and self._pass_blocks(cursor, self._block_track):
                continue
            else:
                if take_value := self._values.get(kind):
                    if kind == _CODEC_PRIVATE:
                        head = yield header + min(size, _PRIVATE_BYTES)
                    if kind not in _OF_TRACK or cursor.position < self._track_end:
                        take_value(head[header : header + size])
                cursor.skip(header, 2 * STEP if take_value else STEP)
                yield from self._pass_payload(cursor, size)

    def _pass_payload(self, cursor: Cursor, size: int) -> Reading[None]:
        """Passes a payload; a large one up to a cluster in it, as decoders do if it does not fit into the file."""
        if size > _MAX_SMALL_ELEMENT:
            yield from cursor.pass_until(_CLUSTER_BYTES, size)
        else:
            cursor.skip(size, 0)

    def _enter(self, kind: int, end: int) -> None:
        if kind == _SEGMENT:
            self._segment_begins = True
        elif kind == _CLUSTER:
            self._cluster_end, self._track_end = end, 0
        elif kind == _TRACK_ENTRY:
            if self._segment_begins:
                self._begin_segment()
            self._track, self._track_end = Track(), end
            if len(self._tracks) < _MAX_TRACKS:
                self._tracks.append(self._track)

    def _begin_segment(self) -> None:
        """Starts a segment with its own tracks. Blocks with the number of an earlier sound track still count."""
        self._earlier_seconds, self._earlier_blocks = self._seconds(), self._blocks()
        self._earlier_needed += _longest_needed(self._sound_tracks())
        for track in self._sound_tracks()[:_MAX_TRACKS]:
            if len(self._former) < _MAX_TRACKS:
                self._former.setdefault(track.number, replace(track, samples=0, blocks=0))
        self._tracks, self._by_number, self._block_track, self._segment_begins = [], {}, None, False

    def _timestamp_scale(self, value: bytes) -> None:
        self._scale = int.from_bytes(value, "big") or self._scale

    def _stated_duration(self, value: bytes) -> None:
        if len(value) in (4, 8):
            (duration,) = unpack(">f" if len(value) == 4 else ">d", value)
            self._duration = duration if math.isfinite(duration) and duration > 0 else 0.0

    def _track_number(self, value: bytes) -> None:
        self._track.number = int.from_bytes(value, "big")
        if len(self._by_number) < _MAX_TRACKS:
            self._by_number.setdefault(self._track.number, self._track)

    def _track_type(self, value: bytes) -> None:
        self._track.kind = int.from_bytes(value, "big")

    def _codec_id(self, value: bytes) -> None:
        self._track.describe(codec=value.rstrip(b"\0"))

    def _codec_private(self, value: bytes) -> None:
        self._track.describe(private=value)

    def _content_encodings(self, value: bytes) -> None:
        self._track.describe(is_encoded=True)

    def _default_duration(self, value: bytes) -> None:
        self._track.default_duration = int.from_bytes(value, "big")

    def _timestamp(self, value: bytes) -> None:
        self._cluster_timestamp = int.from_bytes(value, "big")

    def _block(self, value: bytes) -> None:
        width = WIDTHS[value[0]] if value else 9
        if width > 8 or len(value) < width + 2:
            return
        number = int.from_bytes(value[:width], "big") ^ 1 << 7 * width
        offset = int.from_bytes(value[width : width + 2], "big", signed=True)
        track = self._by_number.get(number)
        self._block_track = track if track and track.is_sound else self._former.get(number, track)
        if self._block_track:
            self._block_track.add_block(self._cluster_timestamp + offset)
            self._block_track.add_packet(value[width + 2 : width + 5])

    def _pass_blocks(self, cursor: Cursor, track: Track) -> int:
        """Passes the blocks of this track that follow in the window; returns how many.

        This loop turns for every packet, so it runs on the bare window, and only for the simplest form of a block: a
        size of one or two bytes, a track number of one, no time before the cluster's. All others are left to `read`.
        """
        window, at, number = cursor.window, cursor.at, track.number + 0x80  # above 255, no byte equals it
        end = len(window) - _BLOCK_BYTES
        position = cursor.position
        limit = at + self._cluster_end - position if position < self._cluster_end else TO_THE_END
        last, step, blocks = track.last - self._cluster_timestamp, track.step, 0
        samples_by_byte, samples, is_opus = track.samples_by_byte, 0, track.is_opus
        while at <= end and window[at] == _SIMPLE_BLOCK:
            size, body = window[at + 1], at + 2
            if 0x40 <= size < 0x80:
                size, body = size << 8 | window[body], body + 1
                size = size - 0x4000 if size < 0x7FFF else 0
            else:
                size = size - 0x80 if size < 0xFF else 0
            time = window[body + 1] << 8 | window[body + 2]
            packet = samples_by_byte[window[body + 4]]
            if not packet and is_opus:
                packet = OPUS_FRAMES[window[body + 4]] * (window[body + 5] & 0x3F)
            if (
                not _MIN_BLOCK_BODY <= size <= _MAX_SMALL_ELEMENT
                or body + size > limit
                or window[body] != number
                or time >= 0x8000
                or window[body + 3] & LACING
                or not packet
            ):
                break
            samples += packet
            if time > last:
                step, last = time - last, time
            blocks += 1
            at = body + size
        if blocks:
            track.last, track.step, track.block_duration = last + self._cluster_timestamp, step, 0
            track.blocks += blocks
            track.samples += samples
            cursor.skip(at - cursor.at, blocks * _BLOCK_WORK)
        return blocks

    def _block_duration(self, value: bytes) -> None:
        if self._block_track:
            self._block_track.block_duration = int.from_bytes(value, "big")

    def _sound_tracks(self) -> list[Track]:
        return [track for track in self._tracks if track.is_sound]

    def _seconds(self) -> float:
        """Seconds by the times of blocks, of this segment and those before."""
        seconds = [track.seconds(self._scale) for track in self._sound_tracks() if track.blocks]
        return self._earlier_seconds + max(seconds, default=0.0)

    def _blocks(self) -> int:
        return self._earlier_blocks + sum(track.blocks for track in self._sound_tracks())

    def _needed(self) -> float:
        """Seconds by packets: of this segment, those before, and former tracks that go on."""
        former = _longest_needed(list(self._former.values()))
        return self._earlier_needed + _longest_needed(self._sound_tracks()) + former

    def _highest_bit_rate(self) -> float | None:
        """The codec's own limit if all tracks are Opus with one or two channels, else None."""
        only_opus = self._tracks and all(track.is_opus and 1 <= track.channels <= 2 for track in self._tracks)
        return _OPUS_BIT_RATE if only_opus else None

    def evidence(self) -> Evidence:
        return Evidence(
            stated=self._duration * self._scale / _NANOSECONDS or None,
            counted=self._seconds() or None,
            needed=self._needed() or None,
            highest_bit_rate=self._highest_bit_rate(),
            packets=self._blocks(),
        )


def _longest_needed(tracks: list[Track]) -> float:
    return max((track.needed for track in tracks), default=0.0)
