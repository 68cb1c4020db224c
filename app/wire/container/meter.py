"""How long the audio in a file is, measured while its bytes pass by.

A meter is told every byte of the file once, in order, and looks at few of them: headers are read, payloads are hopped
over by their length. Nothing is kept but the numbers. Two questions are asked of it: for how much the caller's budget
is to be held, when the head of the file has come (`bound`), and how long the audio was, when all of it has (`finish`).

A header that states a length is a claim by whoever wrote it. It is believed when the size can bear it: when the bytes
last for it at the container's lowest bit rate, or when as many packets were there as such a length needs; silence takes
packets of a byte or two (Opus DTX, AAC), far below any rate at which speech is sent. What was counted packet by packet
goes before what is stated, and is held to the same, because a time stamp is a claim too.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from app.wire.container.cursor import Cursor, Reading
from app.wire.container.evidence import Evidence, Reader
from app.wire.container.flac import FlacReader
from app.wire.container.formats import Container
from app.wire.container.id3 import TAGGED, skip_padding, skip_tags
from app.wire.container.mp3 import Mp3Reader
from app.wire.container.mp4 import Mp4Reader
from app.wire.container.ogg import OggReader
from app.wire.container.wav import WavReader
from app.wire.container.webm import WebmReader

_LONGEST_PACKET: Final = 1.5  # seconds; a FLAC block of 65,535 samples at 44.1 kHz, and more than a pause of DTX


class AudioLength(NamedTuple):
    """Seconds of audio; `measured` is False where they are an estimate from the number of bytes."""

    seconds: float
    measured: bool


class ProgramStreamReader:
    """MPEG program streams (ISO/IEC 13818-1): nothing is read, as the length is in no header and seldom asked for."""

    def read(self, cursor: Cursor) -> Reading[None]:
        return
        yield 0

    def evidence(self) -> Evidence:
        return Evidence()


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
        self._cursor = Cursor(self._read_behind_tags if container in TAGGED else self._reader.read)

    def feed(self, data: bytes) -> None:
        """Hand on more bytes of the file, from its first on, in any portions."""
        self._cursor.feed(data)

    def bound(self, size: int) -> float:
        """An upper bound in seconds for a file of `size` bytes, once its head was fed."""
        evidence = self._reader.evidence()
        rate = evidence.bit_rate or self._container.lowest_bit_rate
        longest = max(0, size - self._tag_bytes) * 8 / rate
        return longest if evidence.stated is None else min(evidence.stated, longest)

    def finish(self) -> AudioLength:
        """Say that the file has ended; returns the length of its audio."""
        self._cursor.finish()
        evidence, bits = self._reader.evidence(), max(0, self._cursor.size - self._tag_bytes) * 8
        longest = max(bits / self._container.lowest_bit_rate, evidence.packets * _LONGEST_PACKET)
        counted = None if self._cursor.exhausted else evidence.counted
        for seconds in (counted, evidence.stated):
            if seconds is not None and seconds * evidence.share <= longest:
                return AudioLength(seconds * evidence.share, measured=evidence.share == 1.0)
        return AudioLength(bits / self._container.nominal_bit_rate, measured=False)

    def _read_behind_tags(self, cursor: Cursor) -> Reading[None]:
        if (yield from skip_tags(cursor)):
            yield from skip_padding(cursor)
        self._tag_bytes = cursor.position
        yield from self._reader.read(cursor)
