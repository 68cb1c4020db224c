"""How long the audio in a file is, measured while its bytes pass by.

A meter is fed every byte of the file once, in order, and looks at few of them: headers are read, payloads are hopped
over by their length. Nothing is kept but the numbers. It answers two questions: for how much the caller's budget is to
be held, when the head of the file has come (`bound`), and how long the audio is, when all of it has (`finish`).

A header that states a length is a claim by its writer, and so is a time stamp. A claim is believed between two bounds:

- *Not more than the file can bear*: what its bytes last for at the container's lowest bit rate, or what as many packets
  can last. Silence takes packets of a byte or two (Opus DTX, AAC), far below any rate at which speech is sent.
- *Not less than the packets need*: the samples that a decoder takes out of them where the reader counts those, and
  never less than the bytes of audio over the highest bit rate that the codec can have. Encoders cut off the silence
  that they add at both ends, which is why a claim may be a tenth and a quarter of a second shorter.

A claim outside of these bounds is dropped. Where no claim is left, the length is an estimate: what the packets need, or
else the bytes at the container's nominal bit rate; at 16 kbit/s where the reader had to give up.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from app.wire.media.cursor import Cursor, Reading
from app.wire.media.evidence import Evidence, Reader
from app.wire.media.flac import FlacReader
from app.wire.media.formats import Container
from app.wire.media.id3 import TAGGED, skip_padding, skip_tags
from app.wire.media.mp3 import Mp3Reader
from app.wire.media.mp4 import Mp4Reader
from app.wire.media.ogg import OggReader
from app.wire.media.program_stream import ProgramStreamReader
from app.wire.media.wav import WavReader
from app.wire.media.webm import WebmReader

_LONGEST_PACKET: Final = 1.5  # seconds; a FLAC block of 65,535 samples at 44.1 kHz, and more than a pause of DTX
_HIDDEN_BIT_RATE: Final = 16_000  # of speech, where a reader was cut short by a file made to cost much
_LEAST_SHARE: Final = 0.9  # of what the packets need: for padding, and packets that a decoder drops
_LEAST_SHARE_OF_SHORT: Final = 0.25  # of what the packets need where that is less than the padding alone
_PADDING: Final = 0.25  # seconds that encoders put before and behind the sound: LAME 2,257 samples, HE-AAC 5,186


class AudioLength(NamedTuple):
    """Seconds of audio; `measured` is False where they are an estimate from the number of bytes."""

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
    """Fed the whole file, tells the length of its audio."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._reader = _READERS[container]()
        self._tag_bytes = 0
        self._length: AudioLength | None = None
        self._cursor = Cursor(self._read_behind_tags if container in TAGGED else self._reader.read)

    def feed(self, data: bytes) -> None:
        """Hand on more bytes of the file, from its first on, in any portions."""
        self._cursor.feed(data)

    def bound(self, size: int) -> float:
        """An upper bound in seconds for a file of `size` bytes, once its head was fed.

        A length that a header states lowers it as far as `size` bytes can be so short: at the highest bit rate.
        """
        evidence = self._reader.evidence()
        bits = max(0, size - self._tag_bytes) * 8
        longest = bits / min(evidence.bit_rate or self._container.lowest_bit_rate, self._container.highest_bit_rate)
        if evidence.stated is None:
            return longest
        shortest = bits / (evidence.highest_bit_rate or self._container.highest_bit_rate)
        return min(max(evidence.stated, shortest), longest)

    def finish(self) -> AudioLength:
        """Say that the file has ended; returns the length of its audio, the same at every further call."""
        if self._length is None:
            self._cursor.finish()
            self._length = self._measured(self._reader.evidence())
        return self._length

    def _measured(self, evidence: Evidence) -> AudioLength:
        bits = max(0, self._cursor.size - self._tag_bytes) * 8
        longest = max(bits / self._container.lowest_bit_rate, evidence.packets * _LONGEST_PACKET)
        needed = self._needed(evidence, longest)
        shortest = max(needed * _LEAST_SHARE - _PADDING, needed * _LEAST_SHARE_OF_SHORT)
        counted = None if self._cursor.exhausted else evidence.counted
        for claim in (counted, evidence.stated):
            seconds = (claim or 0.0) * evidence.share
            if claim is not None and shortest <= seconds <= longest:
                return AudioLength(seconds, evidence.exact and evidence.share == 1.0)
        if self._cursor.exhausted:
            return AudioLength(max(needed, min(bits / _HIDDEN_BIT_RATE, longest)), False)
        by_packets = evidence.needed is not None
        return AudioLength(needed if by_packets else max(needed, bits / self._container.nominal_bit_rate), False)

    def _needed(self, evidence: Evidence, longest: float) -> float:
        """Seconds that the audio lasts at the least, however short a claim is."""
        by_packets = min((evidence.needed or 0.0) * evidence.share, longest)
        by_bytes = (evidence.audio_bytes or 0) * 8 / (evidence.highest_bit_rate or self._container.highest_bit_rate)
        return max(by_packets, by_bytes)

    def _read_behind_tags(self, cursor: Cursor) -> Reading[None]:
        if (yield from skip_tags(cursor)):
            yield from skip_padding(cursor)
        self._tag_bytes = cursor.position
        yield from self._reader.read(cursor)
