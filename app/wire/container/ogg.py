"""Ogg (RFC 3533) with Vorbis, Opus (RFC 7845), FLAC (xiph.org, "Ogg FLAC mapping 1.0") or Speex.

    "OggS" version flags granule(8) serial(4) sequence(4) crc(4) segments(1) lacing values | body

The granule position of a page is the number of samples up to the end of the last packet that is completed on it, so the
pages are hopped over by their lacing values and the last granule is the length: at 48 kHz and less the pre-skip for
Opus, at the rate of the identification header for the others. A file cut from a running stream begins at a granule
other than 0: the length of its first page is then taken from the mean packet of the pages after it. A new page of
beginning after pages of audio opens the next link of a chained file; the links add up. Of streams side by side (a
film's sound and picture), the longest audio counts.
"""

import re
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

from app.wire.container.cursor import STEP, Cursor, Reading
from app.wire.container.evidence import Evidence
from app.wire.container.formats import Container

_CAPTURE: Final = b"OggS\0"
_ANY_CAPTURE: Final = re.compile(re.escape(_CAPTURE))
_HEADER: Final = Struct("<5sBQI8xB")
_HEADER_BYTES: Final = 27
_PAGE_WORK: Final = 24  # below the length of every page
_BEGINNING_WORK: Final = 4 * STEP
_BEGINNING: Final = 0x02
_NO_PACKET_ENDS: Final = 0xFFFFFFFFFFFFFFFF
_IDENTIFICATION_BYTES: Final = 80
_HEAD_BYTES: Final = _HEADER_BYTES + 255 + _IDENTIFICATION_BYTES
_MOST_STREAMS: Final = 16


@dataclass(slots=True)
class _Stream:
    """One logical stream: its sample rate, its pre-skip, and how far it got."""

    sample_rate: int
    pre_skip: int = 0
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
        return max(0, self.last - self._start() - self.pre_skip) / self.sample_rate

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
    """The stream that a first packet opens; None for anything but audio."""
    if packet.startswith(b"OpusHead"):
        return _Stream(48_000, int.from_bytes(packet[10:12], "little"))
    sample_rate = 0
    if packet.startswith(b"\x01vorbis"):
        sample_rate = int.from_bytes(packet[12:16], "little")
    elif packet.startswith(b"Speex   "):
        sample_rate = int.from_bytes(packet[36:40], "little")
    elif packet.startswith(b"\x7fFLAC") and packet[9:13] == b"fLaC":
        sample_rate = int.from_bytes(packet[27:30], "big") >> 4
    return _Stream(sample_rate) if sample_rate else None


class _Page(NamedTuple):
    begins: bool
    granule: int
    serial: int
    packets: int
    size: int
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
        size=body + sum(lacing),
        body=head[body : body + _IDENTIFICATION_BYTES],
    )


def recognise(cursor: Cursor) -> Reading[Container | str]:
    """Ogg when one of the streams that begin at its front is audio."""
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
        self._packets = 0

    def read(self, cursor: Cursor) -> Reading[None]:
        while True:
            self._pass_pages(cursor)
            if page := page_in((yield _HEAD_BYTES)):
                if page.begins:
                    self._begin(page.serial, page.body)
                    cursor.spend(_BEGINNING_WORK)
                if (yield from cursor.skipped(page.size, _PAGE_WORK)) == page.size:
                    self._pass(page)
            else:
                cursor.skip(1)
                if not (yield from cursor.find(_ANY_CAPTURE, len(_CAPTURE))):
                    return

    def _pass_pages(self, cursor: Cursor) -> None:
        """Pass the pages that lie whole in the window, up to one that begins a stream: live Ogg has one a packet."""
        window, at = cursor.window, cursor.at
        end, pages = len(window), 0
        while at + _HEADER_BYTES <= end:
            capture, flags, granule, serial, segments = _HEADER.unpack_from(window, at)
            body = at + _HEADER_BYTES + segments
            if capture != _CAPTURE or flags & _BEGINNING or body > end:
                break
            lacing = window[at + _HEADER_BYTES : body]
            behind = body + sum(lacing)
            if behind > end:
                break
            if stream := self._streams.get(serial):
                packets = segments - lacing.count(0xFF)
                stream.pass_page(granule, packets)
                self._packets += packets
            at, pages = behind, pages + 1
        if pages:
            self._audio_began = True
            cursor.skip(at - cursor.at, pages * _PAGE_WORK)

    def _begin(self, serial: int, packet: bytes) -> None:
        if self._audio_began:
            self._earlier += self._link()
            self._streams, self._audio_began = {}, False
        stream = identify(packet)
        if stream and len(self._streams) < _MOST_STREAMS:
            self._streams[serial] = stream

    def _pass(self, page: _Page) -> None:
        if stream := self._streams.get(page.serial):
            stream.pass_page(page.granule, page.packets)
            self._packets += page.packets
        self._audio_began = self._audio_began or not page.begins

    def _link(self) -> float:
        return max((stream.seconds for stream in self._streams.values()), default=0.0)

    def evidence(self) -> Evidence:
        return Evidence(counted=self._earlier + self._link() or None, packets=self._packets)
