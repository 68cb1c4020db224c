"""MP4 and M4A: the walk over the boxes (ISO/IEC 14496-12, 4.2).

    size(4) type(4) [size(8) where size is 1] payload, or boxes; size 0: to the end of the file

The boxes on the way to a duration are walked as a flat row: a box of `_OPENED` is not passed but entered, its first
child being what comes next. So no stack is kept that a hostile file could pile up, and where `moov` stands makes no
difference. `mdat` is passed by its size.

Sources of the length, best first: the sum of the `trun` samples of the sound track (a fragmented file; the headers of a
live one state nothing), the longest sound track's `mdhd` as cut by its edit list, `mehd`, `mvhd`, and for fragments
without a `moov` the subsegments of `sidx`. Where `mdat` ends before its size says so, the file was cut, and has a share
of what it states.
"""

from collections.abc import Callable
from struct import Struct
from typing import Final

from app.wire.container.cursor import STEP, Cursor, Reading
from app.wire.container.evidence import Evidence
from app.wire.container.movie import FIELD_BYTES, Movie, number

_OPENED: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"mvex", b"moof", b"traf"})
_TO_THE_END: Final = 1 << 62
_ENTRIES_AT_ONCE: Final = 256
_MOST_INDEXES: Final = 32
_HAS_DATA_OFFSET: Final = 0x1
_HAS_FIRST_FLAGS: Final = 0x4
_HAS_DURATION: Final = 0x100
_OTHER_FIELDS: Final = (0x200, 0x400, 0x800)  # size, flags, composition offset: four bytes a sample each

Row = tuple[int, ...]


class Mp4Reader:
    """Walks the boxes and keeps the durations."""

    def __init__(self) -> None:
        self._movie = Movie()
        self._indexed: dict[int, float] = {}
        self._media_announced = 0
        self._media_there = 0
        self._walks: dict[bytes, Callable[[Cursor, int], Reading[int]]] = {
            b"elst": self._edits,
            b"stsz": self._sample_sizes,
            b"sidx": self._index,
            b"trun": self._run,
            b"mdat": self._media,
        }

    def read(self, cursor: Cursor) -> Reading[None]:
        while len(head := (yield 16 + FIELD_BYTES)) >= 8:
            size, kind, header = number(head, 0), head[4:8], 8
            if size == 1:
                size, header = number(head, 8, 8), 16
            payload = size - header if size else _TO_THE_END
            if payload < 0:
                return
            if kind in _OPENED:
                self._movie.open(kind)
                cursor.skip(header)
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
        self._media_announced += there if size == _TO_THE_END else size
        return there

    def _sample_sizes(self, cursor: Cursor, size: int) -> Reading[int]:
        """Count samples as far as a table of their sizes is there; one common size and a number are a claim only."""
        head = (yield 12).ljust(12, b"\0")
        there = yield from cursor.skipped(size)
        self._movie.track.samples = min(number(head, 8), there // 4)
        return there

    def _edits(self, cursor: Cursor, size: int) -> Reading[int]:
        """Add up the segments of an edit list that show the media; a media time of -1 is an empty one."""
        head = (yield 8).ljust(8, b"\0")
        entry = Struct(">Qq4x" if head[0] else ">Ii4x")
        passed = min(size, 8)
        cursor.skip(passed)
        total, walked = yield from _add_up(cursor, entry, number(head, 4), size - passed, _shown)
        self._movie.track.edited += total
        return passed + walked

    def _index(self, cursor: Cursor, size: int) -> Reading[int]:
        """Add up the subsegments of a `sidx`."""
        head = (yield 32).ljust(32, b"\0")
        first = 32 if head[0] else 24
        passed = min(size, first)
        cursor.skip(passed)
        count, reference, scale = number(head, first - 2, 2), number(head, 4), number(head, 8)
        total, walked = yield from _add_up(cursor, Struct(">II4x"), count, size - passed, _subsegment)
        if scale and (reference in self._indexed or len(self._indexed) < _MOST_INDEXES):
            self._indexed[reference] = self._indexed.get(reference, 0.0) + total / scale
        return passed + walked

    def _run(self, cursor: Cursor, size: int) -> Reading[int]:
        """Add up the samples of a `trun`, each with its own duration or all with the fragment's."""
        head = (yield 8).ljust(8, b"\0")
        flags, count, track = number(head, 0), number(head, 4), self._movie.track
        if not flags & _HAS_DURATION:
            track.run += count * track.fragment_duration
            return 0
        first = 8 + (4 if flags & _HAS_DATA_OFFSET else 0) + (4 if flags & _HAS_FIRST_FLAGS else 0)
        passed = min(size, first)
        cursor.skip(passed)
        entry = Struct(f">I{4 * sum(1 for field in _OTHER_FIELDS if flags & field)}x")
        total, walked = yield from _add_up(cursor, entry, count, size - passed, _first)
        track.run += total
        return passed + walked

    def evidence(self) -> Evidence:
        counted = self._movie.counted
        stated = self._movie.stated or max(self._indexed.values(), default=0.0)
        share = self._media_there / self._media_announced if self._media_announced else 1.0
        return Evidence(stated or None, counted or None, share=share, packets=self._movie.samples)


def _shown(row: Row) -> int:
    return row[0] if row[1] != -1 else 0


def _subsegment(row: Row) -> int:
    return row[1] if row[0] >> 31 == 0 else 0  # the top bit: a reference to a further `sidx`


def _first(row: Row) -> int:
    return row[0]


def _add_up(
    cursor: Cursor, entry: Struct, count: int, room: int, duration: Callable[[Row], int]
) -> Reading[tuple[int, int]]:
    """The sum over a table's rows, and how many bytes of it were passed."""
    left, total = min(count, room // entry.size), 0
    passed = 0
    while left:
        rows = yield min(left, _ENTRIES_AT_ONCE) * entry.size
        whole = len(rows) - len(rows) % entry.size
        if not whole:
            break
        total += sum(map(duration, entry.iter_unpack(rows[:whole])))
        passed += whole
        cursor.skip(whole)
        left -= whole // entry.size
    return total, passed
