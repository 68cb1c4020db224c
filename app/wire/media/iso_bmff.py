"""What the header boxes of an ISO media file say of its tracks (ISO/IEC 14496-12, clause 8).

    mvhd, mdhd   time scale at 12 and duration at 16 (version 0), or at 20 and 24 (version 1, 64 bits)
    tkhd         track id at 12 (version 0) or 20                        hdlr   `soun` at 8 for a sound track
    mehd         the whole duration of a fragmented movie                trex   track id, defaults of its samples
    stsd         the codec and what its packets last: see `sample_entry`
    tfhd         track id, and in optional fields the fragment's own defaults

All of them lie in the first `FIELD_BYTES` of a payload. A duration of all ones means unknown.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.wire.media.sample_entry import Packets, entries

FIELD_BYTES: Final = 40
_MOST_TRACKS: Final = 32
_FRAGMENTED: Final = frozenset({b"mvex", b"moof"})
_REPEATED: Final = 1.5  # an edit list that shows so much more than there is repeats it
_HAS_BASE_OFFSET: Final = 0x1
_HAS_DESCRIPTION: Final = 0x2
_HAS_DURATION: Final = 0x8


def number(payload: bytes, at: int, size: int = 4) -> int:
    """A big-endian field."""
    return int.from_bytes(payload[at : at + size], "big")


def _scale_and_duration(payload: bytes) -> tuple[int, int]:
    at, size = (20, 8) if payload[0] else (12, 4)
    duration = number(payload, at + 4, size)
    return number(payload, at), 0 if duration == (1 << 8 * size) - 1 else duration


@dataclass(slots=True)
class Track:
    """A `trak` and what its fragments add. Durations in its own time scale, but `edited` in the movie's.

    samples: those that a table or a fragment lists one by one. claimed: those of a common size, or of the fragment's
    defaults, as many as the headers say. listed_bytes: of all samples as their sizes say. hidden_bytes: of samples that
    are larger than the codec's largest packet.
    """

    handler: bytes = b""
    packets: Packets | None = None
    time_scale: int = 0
    duration: int = 0
    edited: int = 0
    samples: int = 0
    claimed: int = 0
    listed_bytes: int = 0
    hidden_bytes: int = 0
    hybrid: bool = False  # has samples in `moov`
    default_duration: int = 0  # of a sample, by `trex`
    fragment_duration: int = 0  # of a sample, by `tfhd`
    run: int = 0  # of all samples in fragments

    @property
    def sound(self) -> bool:
        """Whether decoders take the track for sound: one that is of no kind at all they play by its sample entry."""
        return self.handler == b"soun" or (self.handler != b"vide" and self.packets is not None)

    def stated(self, movie_scale: int) -> float:
        """Seconds by `mdhd`, as cut by the edit list."""
        whole = self.duration / self.time_scale if self.time_scale else 0.0
        return min(whole, self.edited / movie_scale) if self.edited and movie_scale else whole

    def counted(self) -> float:
        """Seconds of all samples: those of the fragments, and those that a hybrid file has in `moov`."""
        if not self.time_scale or not self.run:
            return 0.0
        return (self.run + (self.duration if self.hybrid else 0)) / self.time_scale

    def claim(self, count: int, size: int) -> None:
        """Add samples that are not listed one by one, and their bytes where one size is common to all."""
        self.claimed += count
        self.listed_bytes += size

    def needed(self, media_bytes: int, movie_scale: int) -> float:
        """Seconds that a decoder plays of the samples, of which `media_bytes` are there at the most.

        An edit list that shows the media again and again is played as often.
        """
        packets = self.packets or Packets()
        there = min(media_bytes, self.listed_bytes) if self.listed_bytes else media_bytes
        samples = (self.samples + min(self.claimed, there)) * packets.seconds
        whole = there * 8 / packets.highest_bit_rate if packets.highest_bit_rate and self.listed_bytes else 0.0
        hidden = self.hidden_bytes * 8 / packets.hidden_bit_rate if packets.largest else 0.0
        once = max(samples, whole, hidden)
        shown = self.edited / movie_scale if movie_scale else 0.0
        longest = max(once, self.duration / self.time_scale if self.time_scale else 0.0)
        return shown if once and shown > _REPEATED * longest else once


class Movie:
    """All tracks, and the one that the boxes being read belong to."""

    def __init__(self) -> None:
        self.track = Track()
        self._tracks: list[Track] = []
        self._by_id: dict[int, Track] = {}
        self._fragmented = False
        self._time_scale = 0
        self._duration = 0
        self._extent = 0
        self.fields: Final[dict[bytes, Callable[[bytes], None]]] = {
            b"mvhd": self._movie_header,
            b"mehd": self._movie_extent,
            b"tkhd": self._track_header,
            b"mdhd": self._media_header,
            b"hdlr": self._handler,
            b"trex": self._fragment_defaults,
            b"tfhd": self._fragment_header,
        }

    def open(self, kind: bytes) -> None:
        """Take note of a box whose children come next."""
        self._fragmented = self._fragmented or kind in _FRAGMENTED
        if kind == b"trak":
            self.track = Track()
            if len(self._tracks) < _MOST_TRACKS:
                self._tracks.append(self.track)

    @property
    def _sound(self) -> list[Track]:
        return [track for track in self._tracks if track.sound]

    @property
    def samples(self) -> int:
        """Samples of sound that a table or a fragment lists one by one, or all of its samples by their sizes."""
        return max((track.samples for track in self._sound), default=0)

    @property
    def stated(self) -> float:
        """Seconds by the headers, the sound's own before the movie's; 0 when they say nothing of the whole."""
        if self._fragmented:
            return self._extent / self._time_scale if self._time_scale else 0.0
        sound = max((track.stated(self._time_scale) for track in self._sound), default=0.0)
        return sound or (self._duration / self._time_scale if self._time_scale else 0.0)

    @property
    def listed_bytes(self) -> int:
        """Bytes of all samples, of pictures too; 0 where no table lists them."""
        return sum(track.listed_bytes for track in self._tracks)

    @property
    def highest_bit_rate(self) -> float | None:
        """What the codec of the only track can have at the most; None where that is not known."""
        packets = self._tracks[0].packets if len(self._tracks) == 1 else None
        return packets.highest_bit_rate or None if packets else None

    def needed(self, media_bytes: int) -> float:
        """Seconds that the samples of the longest sound track take to play."""
        return max((track.needed(media_bytes, self._time_scale) for track in self._sound), default=0.0)

    @property
    def counted(self) -> float:
        """Seconds by the samples of the fragments; 0 when there are none."""
        return max((track.counted() for track in self._sound), default=0.0)

    def _movie_header(self, payload: bytes) -> None:
        self._time_scale, self._duration = _scale_and_duration(payload)

    def _movie_extent(self, payload: bytes) -> None:
        self._extent = number(payload, 4, 8 if payload[0] else 4)

    def _track_header(self, payload: bytes) -> None:
        if len(self._by_id) < _MOST_TRACKS:
            self._by_id.setdefault(number(payload, 20 if payload[0] else 12), self.track)

    def _media_header(self, payload: bytes) -> None:
        self.track.time_scale, self.track.duration = _scale_and_duration(payload)

    def _handler(self, payload: bytes) -> None:
        if payload[8:12] in (b"soun", b"vide"):
            self.track.handler = payload[8:12]

    def describe(self, description: bytes) -> None:
        """Take in a `stsd`. Of several entries the one by which the packets last longest counts."""
        found = entries(description)
        if found and self.track.packets is None:
            rates = [each.highest_bit_rate for each in found if each.highest_bit_rate]
            seconds = max(each.seconds for each in found)
            self.track.packets = found[0]._replace(seconds=seconds, highest_bit_rate=min(rates, default=0.0))

    def _fragment_defaults(self, payload: bytes) -> None:
        if track := self._by_id.get(number(payload, 4)):
            track.default_duration = number(payload, 12)

    def _fragment_header(self, payload: bytes) -> None:
        flags = number(payload, 0)
        at = 8 + (8 if flags & _HAS_BASE_OFFSET else 0) + (4 if flags & _HAS_DESCRIPTION else 0)
        self.track = self._by_id.get(number(payload, 4)) or Track()
        self.track.fragment_duration = number(payload, at) if flags & _HAS_DURATION else self.track.default_duration
