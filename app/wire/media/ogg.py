"""Ogg (RFC 3533) with Vorbis, Opus (RFC 7845), FLAC (xiph.org, "Ogg FLAC mapping 1.0") or Speex.

    "OggS" version flags granule(8) serial(4) sequence(4) crc(4) segments(1) lacing values | body

The granule position of a page is the number of samples up to the end of the last packet that is completed on it, so the
pages are hopped over by their lacing values and the last granule is the length: at 48 kHz and less the pre-skip for
Opus, at the rate of the identification header for the others. A file cut from a running stream begins at a granule
other than 0: the length of its first page is then taken from the mean packet of the pages after it. A new page of
beginning after pages of audio opens the next link of a chained file; the links add up. Of streams side by side (a
film's sound and picture), the longest audio counts.

A granule position is a claim. What a decoder plays is in the packets, so the first bytes of each packet are read as
well: see `packets` for Opus and Vorbis; a packet of FLAC is a frame with its block size, one of Speex has a fixed
number of frames of 20 ms. Streams of other codecs, but for pictures and text, count as sound at the nominal bit rate.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, compress
from operator import and_
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from app.wire.media.cursor import STEP, Cursor, Reading
from app.wire.media.evidence import Evidence
from app.wire.media.flac import frame_header
from app.wire.media.formats import Container, Headless, Recognised
from app.wire.media.packets import OPUS_RATE, OPUS_SAMPLES, opus_samples, opus_samples_of, vorbis_samples

_CAPTURE: Final = b"OggS\0"
_CAPTURE_OVERLAP: Final = len(_CAPTURE) - 1
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_LARGEST_BEGINNING: Final = 4_096  # bytes, of a page with an identification header
_TO_THE_END: Final = 1 << 62
_HEADER: Final = Struct("<5sBQI8xB")
_HEADER_BYTES: Final = 27
_PAGE_WORK: Final = 24  # below the length of every page
_ODD_PAGE_WORK: Final = 3 * STEP  # of one packet or none, whose first bytes do not say how long it lasts
_PACKET_WORK: Final = 2  # a lacing value and a byte, as Opus packets of silence have
_LOOK_WORK: Final = 4 * STEP  # at a frame header of FLAC
_BEGINNING_WORK: Final = 4 * STEP
_CONTINUED: Final = 0x01
_BEGINNING: Final = 0x02
_NO_PACKET_ENDS: Final = 0xFFFFFFFFFFFFFFFF
_IDENTIFICATION_BYTES: Final = 80
_HEAD_BYTES: Final = _HEADER_BYTES + 255 + _IDENTIFICATION_BYTES
_MOST_STREAMS: Final = 16
_HEADER_PACKETS: Final = 2  # of Opus and Speex, whose headers look like audio
_SPEEX_FRAMES_A_SECOND: Final = 50
_MOST_SPEEX_FRAMES: Final = 10  # in a packet
_ENDS_PACKET: Final = bytes([1] * 255 + [0])  # by a lacing value
_HAS_BYTES: Final = bytes([0] + [1] * 255)
_NOT_SOUND: Final = re.compile(
    rb"\x80(theora|daala|kate)|fishead|\x01video|\x01text|BBCD|OVP80|CMML|Annodex|\x8bJNG|PNG"
)


@dataclass(slots=True)
class _Stream:
    """One logical stream: its sample rate, its pre-skip, how far it got, and what its packets last.

    table: samples of a packet by its first byte. look: those by its first `width` bytes, where the table has 0.
    headers: packets still to come that are no audio. samples: of all packets.
    """

    sample_rate: int
    pre_skip: int = 0
    headers: int = 0
    table: tuple[int, ...] = (0,) * 256
    look: Callable[[bytes, int], float] | None = None
    width: int = 1
    samples: float = 0.0
    first: int = 0
    first_packets: int = 0
    before_last: int = 0
    packets_before_last: int = 0
    last: int = 0
    packets: int = 0

    def pass_page(self, granule: int, packets: int) -> None:
        if granule == 0 or granule == _NO_PACKET_ENDS:
            return
        self.before_last, self.packets_before_last = self.last, self.packets
        self.last = granule
        self.packets += packets
        if not self.first:
            self.first, self.first_packets = granule, packets

    @property
    def seconds(self) -> float:
        return max(0, self.last - self._start() - self.pre_skip) / self.sample_rate if self.sample_rate else 0.0

    def samples_at_once(self, body: bytes, starts: list[int]) -> float | None:
        """Samples of a page's packets where their first bytes say it all; None where they do not, or are headers."""
        if not self.sample_rate:
            return len(body)
        if self.headers or self.look is _flac_samples:
            return None
        if self.look:
            return opus_samples_of(body, starts)
        return sum(map(self.table.__getitem__, map(body.__getitem__, starts)))

    def of_one(self, head: bytes, flags: int) -> float:
        """Samples of the only packet of a page, where its first two bytes say it; 0 where more must be looked at."""
        if self.headers or flags & _CONTINUED:
            return 0
        return self.table[head[0]] or (opus_samples(head) if self.look is _opus_samples else 0)

    def packet(self, head: bytes) -> float:
        """Samples of the packet that begins with these bytes."""
        samples = self.table[head[0]] if head else 0
        return self.look(head, self.sample_rate) if self.look and not samples else samples

    @property
    def needed(self) -> float:
        """Seconds by the packets; by the bytes where they are of a codec without a sample rate here."""
        return self.samples / (self.sample_rate or Container.OGG.nominal_bit_rate // 8)

    def _start(self) -> int:
        """Where the first page began. Less than a page is the inexactness of the mean, and not a late start."""
        packets = self.packets_before_last - self.first_packets
        span = self.before_last - self.first
        if packets <= 0:
            packets, span = self.packets - self.first_packets, self.last - self.first
        if packets <= 0 or span <= 0:
            return 0
        page = self.first_packets * span // packets
        return self.first - page if self.first > 2 * page else 0


def identify(packet: bytes) -> _Stream | None:
    """The stream that a first packet opens; None for anything but audio of a known codec."""
    if packet.startswith(b"OpusHead"):
        skip = int.from_bytes(packet[10:12], "little")
        return _Stream(OPUS_RATE, skip, _HEADER_PACKETS, OPUS_SAMPLES, _opus_samples, 2)
    if packet.startswith(b"\x01vorbis"):
        sample_rate = int.from_bytes(packet[12:16], "little")
        return _Stream(sample_rate, table=vorbis_samples(packet)) if sample_rate else None
    if packet.startswith(b"Speex   "):
        return _speex(packet)
    at = 9 if packet.startswith(b"\x7fFLAC") else 0  # the mapping before 1.0 has `fLaC` at once
    sample_rate = int.from_bytes(packet[at + 18 : at + 21], "big") >> 4 if packet[at : at + 4] == b"fLaC" else 0
    return _Stream(sample_rate, look=_flac_samples, width=16) if sample_rate else None


def _speex(packet: bytes) -> _Stream | None:
    sample_rate, frames, extra = (int.from_bytes(packet[at : at + 4], "little") for at in (36, 64, 68))
    samples = sample_rate * min(max(1, frames), _MOST_SPEEX_FRAMES) // _SPEEX_FRAMES_A_SECOND
    headers = _HEADER_PACKETS + min(extra, _HEADER_PACKETS)
    return _Stream(sample_rate, headers=headers, table=(samples,) * 256) if sample_rate else None


def _opus_samples(packet: bytes, _: int) -> float:
    return opus_samples(packet)


def _flac_samples(packet: bytes, sample_rate: int) -> float:
    frame = frame_header(packet)
    return frame.samples * sample_rate / (frame.sample_rate or sample_rate) if frame else 0.0


class _Page(NamedTuple):
    begins: bool
    granule: int
    serial: int
    packets: int
    segments: int
    size: int
    body_bytes: int
    starts: list[int]  # of the packets that begin here, in the body
    body: bytes  # its beginning, as far as an identification header needs


def page_in(head: bytes) -> _Page | None:
    """The page that begins here; None where there is none, or the file ends in its header."""
    if len(head) < _HEADER_BYTES:
        return None
    capture, flags, granule, serial, segments = _HEADER.unpack_from(head)
    body = _HEADER_BYTES + segments
    lacing = head[_HEADER_BYTES:body]
    if capture != _CAPTURE or len(lacing) < segments:
        return None
    return _Page(
        begins=flags & _BEGINNING != 0,
        granule=granule,
        serial=serial,
        packets=segments - lacing.count(0xFF),
        segments=segments,
        size=body + sum(lacing),
        body_bytes=sum(lacing),
        starts=_starts(lacing, flags),
        body=head[body : body + _IDENTIFICATION_BYTES],
    )


def _starts(lacing: bytes, flags: int) -> list[int]:
    """Where packets begin: behind each lacing value below 255, and at the front unless the page continues one.

    An empty packet is none: it stands for one that was lost.
    """
    before = (b"\xff" if flags & _CONTINUED else b"\0") + lacing[:-1]
    begins = map(and_, before.translate(_ENDS_PACKET), lacing.translate(_HAS_BYTES))
    return list(compress(accumulate(lacing, initial=0), begins))


def recognise(cursor: Cursor) -> Reading[Recognised]:
    """Ogg when one of the streams that begin at its front is audio."""
    first = page_in((yield _HEAD_BYTES))
    if first is not None and not first.begins:
        return Headless("Ogg")
    while (page := page_in((yield _HEAD_BYTES))) is not None and page.begins:
        if identify(page.body):
            return Container.OGG
        cursor.skip(page.size)
    return "Ogg without audio"


class OggReader:
    """Follows the granule positions of all audio streams, link by link."""

    def __init__(self) -> None:
        self._streams: dict[int, _Stream] = {}
        self._audio_began = False
        self._earlier = 0.0
        self._earlier_needed = 0.0
        self._packets = 0

    def read(self, cursor: Cursor) -> Reading[None]:
        while True:
            self._pass_pages(cursor)
            if page := page_in((yield _HEAD_BYTES)):
                whole = (yield page.size) if page.begins and page.size <= _LARGEST_BEGINNING else b""
                if page.begins and checksum(whole) == int.from_bytes(whole[22:26], "little"):
                    self._begin(page.serial, page.body)
                    cursor.spend(_BEGINNING_WORK)
                if (yield from self._pass(cursor, page)):
                    continue
            else:
                cursor.skip(1)
            if not (yield from cursor.pass_until(_CAPTURE, _TO_THE_END)):
                return

    def _pass_pages(self, cursor: Cursor) -> None:
        """Pass the pages that lie whole in the window, up to one that is not plain: live Ogg has one a packet."""
        window, at = cursor.window, cursor.at
        end, work = len(window) - _CAPTURE_OVERLAP, 0
        while at + _HEADER_BYTES <= end:
            capture, flags, granule, serial, segments = _HEADER.unpack_from(window, at)
            body = at + _HEADER_BYTES + segments
            if capture != _CAPTURE or flags & _BEGINNING or body > end:
                break
            stream = self._streams.get(serial)
            behind = body + window[body - 1]
            alone = stream is not None and segments == 1 and body < behind <= end and not _encloses(window, at, behind)
            if stream and alone and (samples := stream.of_one(window[body : min(body + 2, behind)], flags)):
                self._take(stream, granule, window[body - 1] < 0xFF, samples)
                at, work = behind, work + _PAGE_WORK + _PACKET_WORK
                continue
            lacing = window[at + _HEADER_BYTES : body]
            behind, cost = body + sum(lacing), _page_work(segments)
            if behind > end or cost > behind - at or _encloses(window, at, behind):
                break
            if stream:
                of_all = stream.samples_at_once(window[body:behind], _starts(lacing, flags))
                if of_all is None:
                    break
                self._take(stream, granule, segments - lacing.count(0xFF), of_all)
            at, work = behind, work + cost
        if work:
            self._audio_began = True
            cursor.skip(at - cursor.at, work)

    def _begin(self, serial: int, packet: bytes) -> None:
        """Open a stream; one of another codec than `identify` knows has no positions, only bytes."""
        if self._audio_began:
            self._earlier, self._earlier_needed = self._earlier + self._link(), self._earlier_needed + self._needed()
            self._streams, self._audio_began = {}, False
        stream = identify(packet)
        if stream is None and not _NOT_SOUND.match(packet):
            stream = _Stream(0)
        if stream and len(self._streams) < _MOST_STREAMS:
            self._streams[serial] = stream

    def _pass(self, cursor: Cursor, page: _Page) -> Reading[bool]:
        """Pass a page and take in what it says; False where it is not whole, or encloses the beginning of another.

        The checksum of the enclosing page is wrong then: decoders drop that page and go on within it.
        """
        end, stream = cursor.position + page.size, self._streams.get(page.serial)
        alone = page.segments == 1 and page.starts and page.body
        plain = stream and alone and stream.of_one(page.body[: min(2, page.body_bytes)], 0)
        starts = page.starts[stream.headers :] if stream else []
        cursor.skip(1, _PAGE_WORK + _PACKET_WORK if plain else _page_work(page.segments))
        samples = yield from _samples(cursor, page, stream, starts)
        if samples is None or cursor.size < end:
            return False
        if stream:
            stream.headers -= len(page.starts) - len(starts)
            self._take(stream, page.granule, page.packets, samples)
        self._audio_began = self._audio_began or not page.begins
        return True

    def _take(self, stream: _Stream, granule: int, packets: int, samples: float) -> None:
        stream.samples += samples
        if stream.sample_rate:
            stream.pass_page(granule, packets)
            self._packets += packets

    def _link(self) -> float:
        return max((stream.seconds for stream in self._streams.values()), default=0.0)

    def _needed(self) -> float:
        return max((stream.needed for stream in self._streams.values()), default=0.0)

    def evidence(self) -> Evidence:
        needed = self._earlier_needed + self._needed()
        return Evidence(counted=self._earlier + self._link() or None, needed=needed or None, packets=self._packets)


def _page_work(segments: int) -> int:
    return (_PAGE_WORK if segments > 1 else _ODD_PAGE_WORK) + segments * _PACKET_WORK


def _encloses(window: bytes, at: int, behind: int) -> bool:
    """Whether another page begins within the page at these places, whose checksum is wrong then."""
    return -1 < window.find(_CAPTURE, at + 1, behind + _CAPTURE_OVERLAP) < behind


def _samples(cursor: Cursor, page: _Page, stream: _Stream | None, starts: list[int]) -> Reading[float | None]:
    """Samples of the packets that begin at these places of the body; passes the page, whose first byte is passed.

    None where another page begins within this one.
    """
    total, passed = 0.0, 1 + page.body_bytes - page.size  # the place in the body
    if stream and stream.sample_rate:
        for start in starts:
            if (yield from cursor.pass_until(_CAPTURE, start - passed)):
                return None
            passed = start
            total += stream.packet((yield min(stream.width, page.body_bytes - start)))
            cursor.spend(_LOOK_WORK if stream.width > 2 else 0)
    elif stream:
        total = page.body_bytes
    return None if (yield from cursor.pass_until(_CAPTURE, page.body_bytes - passed)) else total


def checksum(page: bytes) -> int:
    """The CRC-32 of a page, its own field taken for 0 (polynomial 04C11DB7, highest bit first, no complement).

    That of zlib runs the other way round: over reversed bytes its register holds the same bits in reverse.
    """
    reversed_page = (page[:22] + bytes(4) + page[26:]).translate(_REVERSED)
    register = crc32(reversed_page, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(register.to_bytes(4, "little").translate(_REVERSED), "big")
