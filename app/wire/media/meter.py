"""Measures how long the audio in a file is, while its bytes pass.

A meter takes every byte of the file once, in order, and looks at few of them: it reads headers, and passes payloads by
their length. It keeps numbers only. It answers two questions: how much to reserve of the caller's budget once the head
of the file is there (`bound`), and how long the audio is once the whole file has passed (`finish`).

A length in a header is a claim by its writer, and so is a time stamp. The meter believes a claim between two limits:

- *Not more than the file can hold*: its bytes at the container's lowest bit rate, or the longest time that its packets
  can last. Silence takes packets of one or two bytes (Opus DTX, AAC), far below any bit rate of speech.
- *Not less than a decoder plays*: the samples that a decoder takes from the packets, if the reader counts them, and in
  any case the bytes of audio at the codec's highest bit rate. Encoders cut off the silence that they add at both ends,
  so a claim may be shorter by a tenth and a quarter of a second.

The meter drops a claim outside these limits. If no claim is left, the length is an estimate: what a decoder plays, or
else the bytes at the container's nominal bit rate, or at 16 kbit/s if the reader used up its work.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from app.wire.media.containers.flac import FlacReader
from app.wire.media.containers.id3 import TAGGED, skip_padding, skip_tags
from app.wire.media.containers.iso_bmff import Mp4Reader
from app.wire.media.containers.mp3 import Mp3Reader
from app.wire.media.containers.ogg import OggReader
from app.wire.media.containers.program_stream import ProgramStreamReader
from app.wire.media.containers.wav import WavReader
from app.wire.media.containers.webm import WebmReader
from app.wire.media.cursor import Cursor, Reading
from app.wire.media.evidence import Evidence, Reader
from app.wire.media.formats import Container

_MAX_PACKET_SECONDS: Final = 1.5  # a FLAC block of 65,535 samples at 44.1 kHz; more than a pause of DTX
_UNREAD_BIT_RATE: Final = 16_000  # of speech, if a file made the reader use up its work
_MIN_SHARE: Final = 0.9  # of what a decoder plays: for padding, and for packets that decoders drop
_MIN_SHORT_SHARE: Final = 0.25  # the same for a file that is hardly longer than the padding
_PADDING_SECONDS: Final = 0.25  # that encoders add around the sound: LAME 2,257 samples, HE-AAC 5,186


class AudioLength(NamedTuple):
    """Seconds of audio; `measured` is False for an estimate."""

    seconds: float
    measured: bool


_READERS: Final[dict[Container, Callable[[], Reader]]] = {
    Container.FLAC: FlacReader,
    Container.MP3: Mp3Reader,
    Container.MP4: Mp4Reader,
    Container.MPEG: ProgramStreamReader,
    Container.M4A: Mp4Reader,
    Container.OGG: OggReader,
    Container.WAV: WavReader,
    Container.WEBM: WebmReader,
}


class AudioMeter:
    """Measures one file of a known container."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._reader = _READERS[container]()
        self._tag_bytes = 0
        self._length: AudioLength | None = None
        self._cursor = Cursor(self._read_after_tags if container in TAGGED else self._reader.read)

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the file, in chunks of any size."""
        self._cursor.feed(data)

    def bound(self, size: int) -> float:
        """An upper bound of the length in seconds of a file of `size` bytes, by the head that has been fed.

        A stated length lowers the bound, but not below `size` bytes at the codec's highest bit rate.
        """
        evidence = self._reader.evidence()
        bits = max(0, size - self._tag_bytes) * 8
        longest = bits / min(evidence.bit_rate or self._container.lowest_bit_rate, self._container.highest_bit_rate)
        if evidence.stated is None:
            return longest
        shortest = bits / (evidence.highest_bit_rate or self._container.highest_bit_rate)
        return min(max(evidence.stated, shortest), longest)

    def finish(self) -> AudioLength:
        """Marks the end of the file; returns the length of its audio, also on every later call."""
        if self._length is None:
            self._cursor.finish()
            self._length = self._length_by(self._reader.evidence())
        return self._length

    def _length_by(self, evidence: Evidence) -> AudioLength:
        bits = max(0, self._cursor.size - self._tag_bytes) * 8
        longest = max(bits / self._container.lowest_bit_rate, evidence.packets * _MAX_PACKET_SECONDS)
        needed = self._needed(evidence, longest)
        shortest = max(needed * _MIN_SHARE - _PADDING_SECONDS, needed * _MIN_SHORT_SHARE)
        counted = None if self._cursor.exhausted else evidence.counted
        for claim in (counted, evidence.stated):
            seconds = (claim or 0.0) * evidence.share
            if claim is not None and shortest <= seconds <= longest:
                return AudioLength(seconds, evidence.exact and evidence.share == 1.0)
        if self._cursor.exhausted:
            return AudioLength(max(needed, min(bits / _UNREAD_BIT_RATE, longest)), False)
        estimate = needed if evidence.needed is not None else max(needed, bits / self._container.nominal_bit_rate)
        return AudioLength(estimate, False)

    def _needed(self, evidence: Evidence, longest: float) -> float:
        """The least seconds that a decoder plays, however short the claims are."""
        by_packets = min((evidence.needed or 0.0) * evidence.share, longest)
        by_bytes = (evidence.audio_bytes or 0) * 8 / (evidence.highest_bit_rate or self._container.highest_bit_rate)
        return max(by_packets, by_bytes)

    def _read_after_tags(self, cursor: Cursor) -> Reading[None]:
        if (yield from skip_tags(cursor)):
            yield from skip_padding(cursor)
        self._tag_bytes = cursor.position
        yield from self._reader.read(cursor)
