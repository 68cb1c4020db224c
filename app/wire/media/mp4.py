"""MP4 and M4A: the walk over the boxes (ISO/IEC 14496-12, 4.2).

    size(4) type(4) [size(8) where size is 1] payload, or boxes; size 0: to the end of the file

The boxes on the way to a duration are walked as a flat row: a box of `_OPENED` is not passed but entered, its first
child being what comes next. Where `moov` stands makes no difference. A box ends with the one that it is in at the
latest, and what is none ends that one: decoders go on behind it. Of the ends as many are kept as honest files have.
`mdat` is passed by its size.

Sources of the length, best first: the sum of the `trun` samples of the sound track (a fragmented file; the headers of a
live one state nothing), the longest sound track's `mdhd` as cut by its edit list, `mehd`, `mvhd`, and for fragments
without a `moov` the subsegments of `sidx`. Where `mdat` ends before its size says so, and is shorter than the samples
that the tables list, the file was cut, and has a share of what it states.

All of these are claims, the durations of samples (`stts`, `trun`) and edit lists too: decoders play the samples. So
these are counted, with their bytes, and each lasts as long as its codec says (see `sample_entry`).
"""

from collections.abc import Callable, Iterable
from functools import partial
from struct import Struct
from typing import Final

from app.wire.media.cursor import STEP, Cursor, Reading
from app.wire.media.evidence import Evidence
from app.wire.media.iso_bmff import FIELD_BYTES, Movie, Track, number
from app.wire.media.sample_entry import ENTRY_BYTES

_OPENED: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"mvex", b"moof", b"traf"})
_TO_THE_END: Final = 1 << 62
_MOST_DEPTH: Final = 16
_ENTRIES_AT_ONCE: Final = 256
_MOST_INDEXES: Final = 32
_HAS_DATA_OFFSET: Final = 0x1
_HAS_FIRST_FLAGS: Final = 0x4
_HAS_DURATION: Final = 0x100
_HAS_SIZE: Final = 0x200
_SAMPLE_FIELDS: Final = (_HAS_DURATION, _HAS_SIZE, 0x400, 0x800)  # and flags, composition offset: four bytes each
_LARGEST_PACKET: Final = 6_144  # bytes, of AAC in eight channels, where the codec is not known

Rows = Iterable[tuple[int, ...]]


class Mp4Reader:
    """Walks the boxes and keeps the durations."""

    def __init__(self) -> None:
        self._movie = Movie()
        self._indexed: dict[int, float] = {}
        self._media_announced = 0
        self._media_there = 0
        self._walks: dict[bytes, Callable[[Cursor, int], Reading[int]]] = {
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
            room = ends[-1] - cursor.position if ends else _TO_THE_END
            size, kind, header = number(head, 0), head[4:8], 8
            if size == 1:
                size, header = number(head, 8, 8), 16
            payload = min(size or _TO_THE_END, room) - header
            if payload < 0 and not ends:
                return
            if payload < 0:
                cursor.skip(room)
            elif kind in _OPENED:
                self._movie.open(kind)
                cursor.skip(header)
                if len(ends) < _MOST_DEPTH and size:
                    ends.append(cursor.position + payload)
            elif walk := self._walks.get(kind):
                cursor.skip(header)
                cursor.skip(payload - (yield from walk(cursor, payload)))
            else:
                if field := self._movie.fields.get(kind):
                    field(head[header : header + min(payload, FIELD_BYTES)].ljust(FIELD_BYTES, b"\0"))
                    cursor.spend(2 * STEP)
                cursor.skip(header + payload)

    def _media(self, cursor: Cursor, size: int) -> Reading[int]:
        there = yield from cursor.skipped(size)
        self._media_there += there
        self._media_announced += there if size >= _TO_THE_END - 16 else size
        return there

    def _description(self, cursor: Cursor, size: int) -> Reading[int]:
        """Read the codec of a track and what its packets last."""
        self._movie.describe((yield min(size, ENTRY_BYTES)))
        cursor.spend(4 * STEP)
        return 0

    def _sample_sizes(self, cursor: Cursor, size: int) -> Reading[int]:
        """Add up the samples and their bytes; one common size and a number are a claim only."""
        head = (yield 12).ljust(12, b"\0")
        passed, common, count, track = min(size, 12), number(head, 4), number(head, 8), self._movie.track
        cursor.skip(passed)
        track.hybrid = track.hybrid or count > 0
        if not common:
            return passed + (yield from _walk(cursor, Struct(">I"), count, size - passed, partial(_sizes, track, 0)))
        track.claim(count, common * count)
        return passed

    def _compact_sizes(self, cursor: Cursor, size: int) -> Reading[int]:
        """Count the samples of a `stz2`, whose sizes take 4, 8 or 16 bits."""
        head = (yield 12).ljust(12, b"\0")
        there = yield from cursor.skipped(size)
        self._movie.track.samples += min(number(head, 8), there * 8 // (head[7] or 16))
        self._movie.track.hybrid = True
        return there

    def _edits(self, cursor: Cursor, size: int) -> Reading[int]:
        """Add up the segments of an edit list that show the media; a media time of -1 is an empty one."""
        head = (yield 8).ljust(8, b"\0")
        entry = Struct(">Qq4x" if head[0] else ">Ii4x")
        passed, track = min(size, 8), self._movie.track
        cursor.skip(passed)

        def take(rows: Rows) -> None:
            track.edited += sum(row[0] for row in rows if row[1] != -1)

        return passed + (yield from _walk(cursor, entry, number(head, 4), size - passed, take))

    def _index(self, cursor: Cursor, size: int) -> Reading[int]:
        """Add up the subsegments of a `sidx`; the top bit says that one is a reference to a further `sidx`."""
        head = (yield 32).ljust(32, b"\0")
        first = 32 if head[0] else 24
        passed, total = min(size, first), 0
        cursor.skip(passed)
        count, reference, scale = number(head, first - 2, 2), number(head, 4), number(head, 8)

        def take(rows: Rows) -> None:
            nonlocal total
            total += sum(row[1] for row in rows if row[0] >> 31 == 0)

        walked = yield from _walk(cursor, Struct(">II4x"), count, size - passed, take)
        if scale and (reference in self._indexed or len(self._indexed) < _MOST_INDEXES):
            self._indexed[reference] = self._indexed.get(reference, 0.0) + total / scale
        return passed + walked

    def _run(self, cursor: Cursor, size: int) -> Reading[int]:
        """Add up the samples of a `trun`, each with its own duration or all with the fragment's."""
        head = (yield 8).ljust(8, b"\0")
        flags, count, track = number(head, 0), number(head, 4), self._movie.track
        if not flags & _HAS_DURATION:
            track.run += count * track.fragment_duration
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
                track.run += sum(row[0] for row in listed)
            if flags & _HAS_SIZE:
                _sizes(track, int(durations), listed)
            else:
                track.samples += len(listed)

        return passed + (yield from _walk(cursor, Struct(f">{fields}I"), count, size - passed, take))

    def evidence(self) -> Evidence:
        stated = self._movie.stated or max(self._indexed.values(), default=0.0)
        return Evidence(
            stated=stated or None,
            counted=self._movie.counted or None,
            needed=self._movie.needed(self._media_there) or None,
            highest_bit_rate=self._movie.highest_bit_rate,
            share=self._share(),
            packets=self._movie.samples,
        )

    def _share(self) -> float:
        """How much is there of the media: by the sizes of `mdat` or by those of the samples, whichever is more."""
        if self._media_there >= self._media_announced:
            return 1.0
        listed = self._movie.listed_bytes
        return max(self._media_there / self._media_announced, min(1.0, self._media_there / listed) if listed else 0.0)


def _sizes(track: Track, column: int, rows: Rows) -> None:
    """Add samples by their sizes."""
    sizes = [row[column] for row in rows]
    track.samples += len(sizes)
    track.listed_bytes += sum(sizes)
    largest = track.packets.largest if track.packets else _LARGEST_PACKET
    if largest and max(sizes) > largest:
        track.hidden_bytes += sum(size for size in sizes if size > largest)


def _walk(cursor: Cursor, entry: Struct, count: int, room: int, take: Callable[[Rows], None]) -> Reading[int]:
    """Hand a table's rows on, some at a time; returns how many bytes of it were passed."""
    left, passed = min(count, room // entry.size), 0
    while left:
        rows = yield min(left, _ENTRIES_AT_ONCE) * entry.size
        whole = len(rows) - len(rows) % entry.size
        if not whole:
            break
        take(entry.iter_unpack(rows[:whole]))
        passed += whole
        cursor.skip(whole)
        left -= whole // entry.size
    return passed
