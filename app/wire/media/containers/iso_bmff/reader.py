"""The walk over the boxes of MP4 and M4A (ISO/IEC 14496-12, 4.2).

    size(4) type(4) [size(8) if size is 1] payload, or boxes; size 0: to the end of the file

The reader walks the boxes as a flat sequence: it enters a box of `_ENTERED` and passes all others, so the position of
`moov` does not matter. A box ends at the latest where its parent ends. Bytes that are no box end their parent: decoders
continue after it. The reader keeps the ends of as many open boxes as honest files have, and passes `mdat` by its size.

Sources of the length, best first: the sum of the `trun` samples of the sound track (a fragmented file; a live one
states nothing in its headers), the longest sound track's `mdhd` shortened by its edit list, `mehd`, `mvhd`, and for
fragments without `moov` the subsegments of `sidx`. If `mdat` is shorter than its size and than the samples that the
tables list, the file was cut and has only a share of the stated length.

All of these are claims, including the durations of samples (`stts`, `trun`) and edit lists: decoders play the samples.
So the reader counts the samples and their bytes, and each lasts as long as its codec says (see `sample_entry`).
"""

from collections.abc import Callable, Iterable
from functools import partial
from struct import Struct
from typing import Final

from app.wire.media.containers.iso_bmff.sample_entry import DESCRIPTION_BYTES
from app.wire.media.containers.iso_bmff.tracks import FIELD_BYTES, Movie, Track, number
from app.wire.media.cursor import STEP, TO_THE_END, Cursor, Reading
from app.wire.media.evidence import Evidence

_ENTERED: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"mvex", b"moof", b"traf"})
_MAX_DEPTH: Final = 16
_ROWS_AT_ONCE: Final = 256
_MAX_INDEXES: Final = 32
_HAS_DATA_OFFSET: Final = 0x1
_HAS_FIRST_FLAGS: Final = 0x4
_HAS_DURATION: Final = 0x100
_HAS_SIZE: Final = 0x200
_SAMPLE_FIELDS: Final = (_HAS_DURATION, _HAS_SIZE, 0x400, 0x800)  # and flags, composition offset: four bytes each
_MAX_PACKET_BYTES: Final = 6_144  # of AAC in eight channels, if the codec is unknown

Rows = Iterable[tuple[int, ...]]
"""Rows of a table in a box, as numbers."""


class Mp4Reader:
    """Walks the boxes, and adds up durations and samples."""

    def __init__(self) -> None:
        self._movie = Movie()
        self._indexed: dict[int, float] = {}
        self._media_announced = 0
        self._media_present = 0
        self._payload_readers: dict[bytes, Callable[[Cursor, int], Reading[int]]] = {
            b"elst": self._edits,
            b"stsd": self._description,
            b"stsz": self._sample_sizes,
            b"stz2": self._compact_sizes,
            b"sidx": self._index,
            b"trun": self._run,
            b"mdat": self._media,
        }

    def read(self, cursor: Cursor) -> Reading[None]:
        ends: list[int] = []
        while len(head := (yield 16 + FIELD_BYTES)) >= 8:
            while ends and ends[-1] <= cursor.position:
                ends.pop()
            room = ends[-1] - cursor.position if ends else TO_THE_END
            size, kind, header = number(head, 0), head[4:8], 8
            if size == 1:
                size, header = number(head, 8, 8), 16
            payload = min(size or TO_THE_END, room) - header
            if payload < 0 and not ends:
                return
            if payload < 0:
                cursor.skip(room)
            elif kind in _ENTERED:
                self._movie.enter(kind)
                cursor.skip(header)
                if len(ends) < _MAX_DEPTH and size:
                    ends.append(cursor.position + payload)
            elif read_payload := self._payload_readers.get(kind):
                cursor.skip(header)
                cursor.skip(payload - (yield from read_payload(cursor, payload)))
            else:
                if take_fields := self._movie.fields.get(kind):
                    take_fields(head[header : header + min(payload, FIELD_BYTES)].ljust(FIELD_BYTES, b"\0"))
                    cursor.spend(2 * STEP)
                cursor.skip(header + payload)

    def _media(self, cursor: Cursor, size: int) -> Reading[int]:
        """Passes `mdat` and counts the bytes that are present."""
        present = yield from cursor.skipped(size)
        self._media_present += present
        self._media_announced += present if size >= TO_THE_END - 16 else size
        return present

    def _description(self, cursor: Cursor, size: int) -> Reading[int]:
        """Reads the codec of a track and how long its packets last."""
        self._movie.describe((yield min(size, DESCRIPTION_BYTES)))
        cursor.spend(4 * STEP)
        return 0

    def _sample_sizes(self, cursor: Cursor, size: int) -> Reading[int]:
        """Adds up a `stsz`: samples and their bytes. A number of samples of one common size is only a claim."""
        head = (yield 12).ljust(12, b"\0")
        passed, common, count, track = min(size, 12), number(head, 4), number(head, 8), self._movie.track
        cursor.skip(passed)
        track.is_hybrid = track.is_hybrid or count > 0
        if not common:
            take = partial(_add_sizes, track, 0)
            return passed + (yield from _read_rows(cursor, Struct(">I"), count, size - passed, take))
        track.claim(count, common * count)
        return passed

    def _compact_sizes(self, cursor: Cursor, size: int) -> Reading[int]:
        """Counts the samples of a `stz2`, whose sizes take 4, 8 or 16 bits."""
        head = (yield 12).ljust(12, b"\0")
        present = yield from cursor.skipped(size)
        self._movie.track.samples += min(number(head, 8), present * 8 // (head[7] or 16))
        self._movie.track.is_hybrid = True
        return present

    def _edits(self, cursor: Cursor, size: int) -> Reading[int]:
        """Adds up the segments of an edit list that play media; a media time of -1 marks an empty segment."""
        head = (yield 8).ljust(8, b"\0")
        entry = Struct(">Qq4x" if head[0] else ">Ii4x")
        passed, track = min(size, 8), self._movie.track
        cursor.skip(passed)

        def take(rows: Rows) -> None:
            track.edited += sum(row[0] for row in rows if row[1] != -1)

        return passed + (yield from _read_rows(cursor, entry, number(head, 4), size - passed, take))

    def _index(self, cursor: Cursor, size: int) -> Reading[int]:
        """Adds up the subsegments of a `sidx`; those with the top bit set refer to another `sidx`."""
        head = (yield 32).ljust(32, b"\0")
        first = 32 if head[0] else 24
        passed, total = min(size, first), 0
        cursor.skip(passed)
        count, reference, scale = number(head, first - 2, 2), number(head, 4), number(head, 8)

        def take(rows: Rows) -> None:
            nonlocal total
            total += sum(row[1] for row in rows if row[0] >> 31 == 0)

        rows_bytes = yield from _read_rows(cursor, Struct(">II4x"), count, size - passed, take)
        if scale and (reference in self._indexed or len(self._indexed) < _MAX_INDEXES):
            self._indexed[reference] = self._indexed.get(reference, 0.0) + total / scale
        return passed + rows_bytes

    def _run(self, cursor: Cursor, size: int) -> Reading[int]:
        """Adds up the samples of a `trun`, which have their own durations or that of the fragment."""
        head = (yield 8).ljust(8, b"\0")
        flags, count, track = number(head, 0), number(head, 4), self._movie.track
        if not flags & _HAS_DURATION:
            track.fragments += count * track.fragment_duration
        fields = sum(1 for field in _SAMPLE_FIELDS if flags & field)
        if not fields:
            track.claim(count, 0)
            return 0
        first = 8 + (4 if flags & _HAS_DATA_OFFSET else 0) + (4 if flags & _HAS_FIRST_FLAGS else 0)
        passed, durations = min(size, first), flags & _HAS_DURATION != 0
        cursor.skip(passed)

        def take(rows: Rows) -> None:
            listed = list(rows)
            if durations:
                track.fragments += sum(row[0] for row in listed)
            if flags & _HAS_SIZE:
                _add_sizes(track, int(durations), listed)
            else:
                track.samples += len(listed)

        return passed + (yield from _read_rows(cursor, Struct(f">{fields}I"), count, size - passed, take))

    def evidence(self) -> Evidence:
        stated = self._movie.stated or max(self._indexed.values(), default=0.0)
        return Evidence(
            stated=stated or None,
            counted=self._movie.counted or None,
            needed=self._movie.needed(self._media_present) or None,
            highest_bit_rate=self._movie.highest_bit_rate,
            share=self._share(),
            packets=self._movie.samples,
        )

    def _share(self) -> float:
        """The present share of the media, by the size of `mdat` or by those of the samples, whichever is more."""
        if self._media_present >= self._media_announced:
            return 1.0
        listed = self._movie.listed_bytes
        return max(
            self._media_present / self._media_announced, min(1.0, self._media_present / listed) if listed else 0.0
        )


def _add_sizes(track: Track, column: int, rows: Rows) -> None:
    """Adds samples by the sizes in a column of a table."""
    sizes = [row[column] for row in rows]
    track.samples += len(sizes)
    track.listed_bytes += sum(sizes)
    max_bytes = track.packets.max_bytes if track.packets else _MAX_PACKET_BYTES
    if max_bytes and max(sizes) > max_bytes:
        track.hidden_bytes += sum(size for size in sizes if size > max_bytes)


def _read_rows(cursor: Cursor, row: Struct, count: int, room: int, take: Callable[[Rows], None]) -> Reading[int]:
    """Passes the rows of a table to `take`, some at a time; returns how many bytes were read."""
    left, passed = min(count, room // row.size), 0
    while left:
        rows = yield min(left, _ROWS_AT_ONCE) * row.size
        whole = len(rows) - len(rows) % row.size
        if not whole:
            break
        take(row.iter_unpack(rows[:whole]))
        passed += whole
        cursor.skip(whole)
        left -= whole // row.size
    return passed
