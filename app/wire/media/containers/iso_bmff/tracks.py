"""The tracks of an ISO media file, by its header boxes (ISO/IEC 14496-12, clause 8).

    mvhd, mdhd   time scale at 12 and duration at 16 (version 0), or at 20 and 24 (version 1, 64 bits)
    tkhd         track id at 12 (version 0) or 20                        hdlr   `soun` at 8 for a sound track
    mehd         total duration of a fragmented movie                     trex   track id, defaults of its samples
    stsd         the codec and how long its packets last: see `sample_entry`
    tfhd         track id, and optional defaults of the fragment

All fields are in the first `FIELD_BYTES` of a payload. A duration of all ones means unknown.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.wire.media.containers.iso_bmff.sample_entry import Packets, parse_sample_entries

FIELD_BYTES: Final = 40
_MAX_TRACKS: Final = 32
_FRAGMENTED: Final = frozenset({b"mvex", b"moof"})
_REPEATED: Final = 1.5  # an edit list that plays this many times the media repeats it
_HAS_BASE_OFFSET: Final = 0x1
_HAS_DESCRIPTION: Final = 0x2
_HAS_DURATION: Final = 0x8


def number(payload: bytes, at: int, size: int = 4) -> int:
    """A big-endian number in a box."""
    return int.from_bytes(payload[at : at + size], "big")


def _scale_and_duration(payload: bytes) -> tuple[int, int]:
    at, size = (20, 8) if payload[0] else (12, 4)
    duration = number(payload, at + 4, size)
    return number(payload, at), 0 if duration == (1 << 8 * size) - 1 else duration


@dataclass(slots=True)
class Track:
    """A `trak` and what its fragments add. Durations are in its own time scale, except `edited` in the movie's.

    edited: the duration that the edit list plays. samples: the number of samples that a table or a fragment lists one
    by one. claimed: the number of samples that share one size or the fragment's defaults, by the headers. listed_bytes:
    of all samples, by their stated sizes. hidden_bytes: of samples larger than the codec's largest packet. is_hybrid:
    some samples are in `moov`. default_duration: of a sample, by `trex`. fragment_duration: of a sample, by `tfhd`.
    fragments: of all samples in fragments.
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
    is_hybrid: bool = False
    default_duration: int = 0
    fragment_duration: int = 0
    fragments: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether decoders play the track as sound; without a known handler, the sample entry decides."""
        return self.handler == b"soun" or (self.handler != b"vide" and self.packets is not None)

    def stated(self, movie_scale: int) -> float:
        """Seconds by `mdhd`, shortened by the edit list."""
        total = self.duration / self.time_scale if self.time_scale else 0.0
        return min(total, self.edited / movie_scale) if self.edited and movie_scale else total

    def counted(self) -> float:
        """Seconds of the samples in fragments, plus those of a hybrid file in `moov`."""
        if not self.time_scale or not self.fragments:
            return 0.0
        return (self.fragments + (self.duration if self.is_hybrid else 0)) / self.time_scale

    def claim(self, count: int, size: int) -> None:
        """Adds samples that are not listed one by one, and their bytes if all have one size."""
        self.claimed += count
        self.listed_bytes += size

    def needed(self, media_bytes: int, movie_scale: int) -> float:
        """Seconds that a decoder plays of the samples, of which at most `media_bytes` are present.

        Decoders follow an edit list that repeats the media.
        """
        packets = self.packets or Packets()
        present = min(media_bytes, self.listed_bytes) if self.listed_bytes else media_bytes
        samples = (self.samples + min(self.claimed, present)) * packets.seconds
        by_bytes = present * 8 / packets.highest_bit_rate if packets.highest_bit_rate and self.listed_bytes else 0.0
        hidden = self.hidden_bytes * 8 / packets.hidden_bit_rate if packets.max_bytes else 0.0
        once = max(samples, by_bytes, hidden)
        edited = self.edited / movie_scale if movie_scale else 0.0
        longest = max(once, self.duration / self.time_scale if self.time_scale else 0.0)
        return edited if once and edited > _REPEATED * longest else once


class Movie:
    """All tracks of a file; `track` is the one that the current boxes belong to."""

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

    def enter(self, kind: bytes) -> None:
        """Enters a box whose children come next."""
        self._fragmented = self._fragmented or kind in _FRAGMENTED
        if kind == b"trak":
            self.track = Track()
            if len(self._tracks) < _MAX_TRACKS:
                self._tracks.append(self.track)

    @property
    def _sound_tracks(self) -> list[Track]:
        return [track for track in self._tracks if track.is_sound]

    @property
    def samples(self) -> int:
        """Samples of the longest sound track that tables or fragments list one by one."""
        return max((track.samples for track in self._sound_tracks), default=0)

    @property
    def stated(self) -> float:
        """Seconds by the headers, those of the sound before those of the movie; 0 if they state no total."""
        if self._fragmented:
            return self._extent / self._time_scale if self._time_scale else 0.0
        sound = max((track.stated(self._time_scale) for track in self._sound_tracks), default=0.0)
        return sound or (self._duration / self._time_scale if self._time_scale else 0.0)

    @property
    def listed_bytes(self) -> int:
        """Bytes of all samples, including pictures; 0 if no table lists them."""
        return sum(track.listed_bytes for track in self._tracks)

    @property
    def highest_bit_rate(self) -> float | None:
        """The highest bit rate of the only track's codec; None if unknown or if there are more tracks."""
        packets = self._tracks[0].packets if len(self._tracks) == 1 else None
        return packets.highest_bit_rate or None if packets else None

    def needed(self, media_bytes: int) -> float:
        """Seconds that a decoder plays of the longest sound track."""
        return max((track.needed(media_bytes, self._time_scale) for track in self._sound_tracks), default=0.0)

    @property
    def counted(self) -> float:
        """Seconds by the samples of fragments; 0 if there are none."""
        return max((track.counted() for track in self._sound_tracks), default=0.0)

    def _movie_header(self, payload: bytes) -> None:
        self._time_scale, self._duration = _scale_and_duration(payload)

    def _movie_extent(self, payload: bytes) -> None:
        self._extent = number(payload, 4, 8 if payload[0] else 4)

    def _track_header(self, payload: bytes) -> None:
        if len(self._by_id) < _MAX_TRACKS:
            self._by_id.setdefault(number(payload, 20 if payload[0] else 12), self.track)

    def _media_header(self, payload: bytes) -> None:
        self.track.time_scale, self.track.duration = _scale_and_duration(payload)

    def _handler(self, payload: bytes) -> None:
        if payload[8:12] in (b"soun", b"vide"):
            self.track.handler = payload[8:12]

    def describe(self, description: bytes) -> None:
        """Reads a `stsd`. Of several entries, the one with the longest packets counts."""
        packets = parse_sample_entries(description)
        if packets and self.track.packets is None:
            rates = [entry.highest_bit_rate for entry in packets if entry.highest_bit_rate]
            seconds = max(entry.seconds for entry in packets)
            self.track.packets = packets[0]._replace(seconds=seconds, highest_bit_rate=min(rates, default=0.0))

    def _fragment_defaults(self, payload: bytes) -> None:
        if track := self._by_id.get(number(payload, 4)):
            track.default_duration = number(payload, 12)

    def _fragment_header(self, payload: bytes) -> None:
        flags = number(payload, 0)
        at = 8 + (8 if flags & _HAS_BASE_OFFSET else 0) + (4 if flags & _HAS_DESCRIPTION else 0)
        self.track = self._by_id.get(number(payload, 4)) or Track()
        self.track.fragment_duration = number(payload, at) if flags & _HAS_DURATION else self.track.default_duration
