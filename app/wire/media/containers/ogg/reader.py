"""The walk over the pages of an Ogg file.

The granule position of a page is the number of samples up to the end of the last packet that ends on it. So the reader
passes each page by its lacing values, and the last granule position is the length: at 48 kHz minus the pre-skip for
Opus, at the rate of the identification header for the others. A file cut from a running stream begins at a granule
position other than 0: the mean packet of its later pages gives the length of its first page. A first page of a stream
after pages of audio opens the next link of a chained file; the lengths of links add up. Of parallel streams (sound and
picture of a film), the longest audio counts.

A granule position is a claim. What a decoder plays is in the packets, so the reader also looks at the first bytes of
each packet: for Opus and Vorbis see `packets`; a FLAC packet is a frame with its block size; a Speex packet has a fixed
number of frames of 20 ms. Streams of other codecs, except pictures and text, count as sound at the nominal bit rate.
"""

from typing import Final

from app.wire.media.containers.ogg.page import (
    CAPTURE,
    FIRST_PAGE,
    HEAD_BYTES,
    HEADER,
    HEADER_BYTES,
    Page,
    checksum,
    encloses_page,
    packet_starts,
    parse_page,
)
from app.wire.media.containers.ogg.stream import LogicalStream, identify, open_stream
from app.wire.media.cursor import STEP, TO_THE_END, Cursor, Reading
from app.wire.media.evidence import Evidence
from app.wire.media.formats import Container, HeaderMissing, Recognised

_CAPTURE_OVERLAP: Final = len(CAPTURE) - 1
_MAX_FIRST_PAGE_BYTES: Final = 4_096  # of a page with an identification header
_PAGE_WORK: Final = 24  # below the length of every page
_SINGLE_PACKET_WORK: Final = 3 * STEP  # of a page with one packet or none, whose length needs more than two bytes
_PACKET_WORK: Final = 2  # a lacing value and a byte, the size of an Opus packet in silence
_PARSE_WORK: Final = 4 * STEP  # of a FLAC frame header
_FIRST_PAGE_WORK: Final = 4 * STEP
_MAX_STREAMS: Final = 16


def recognise(cursor: Cursor) -> Reading[Recognised]:
    """Ogg if one of the streams that begin at the start of the file is audio."""
    first = parse_page((yield HEAD_BYTES))
    if first is not None and not first.is_first:
        return HeaderMissing("Ogg")
    while (page := parse_page((yield HEAD_BYTES))) is not None and page.is_first:
        if identify(page.body):
            return Container.OGG
        cursor.skip(page.size)
    return "Ogg without audio"


class OggReader:
    """Measures all audio streams, link by link."""

    def __init__(self) -> None:
        self._streams: dict[int, LogicalStream] = {}  # of this link, by serial number
        self._audio_began = False
        self._earlier_seconds = 0.0  # of the links before
        self._earlier_needed = 0.0
        self._packets = 0

    def read(self, cursor: Cursor) -> Reading[None]:
        while True:
            self._pass_pages(cursor)
            if page := parse_page((yield HEAD_BYTES)):
                whole = (yield page.size) if page.is_first and page.size <= _MAX_FIRST_PAGE_BYTES else b""
                if page.is_first and checksum(whole) == int.from_bytes(whole[22:26], "little"):
                    self._open_stream(page.serial, page.body)
                    cursor.spend(_FIRST_PAGE_WORK)
                if (yield from self._pass_page(cursor, page)):
                    continue
            else:
                cursor.skip(1)
            if not (yield from cursor.pass_until(CAPTURE, TO_THE_END)):
                return

    def _pass_pages(self, cursor: Cursor) -> None:
        """Passes the pages that are whole in the window, up to one that needs more than a look at each packet.

        This loop runs on the bare window because live Ogg has a page for each packet.
        """
        window, at = cursor.window, cursor.at
        limit, work = len(window) - _CAPTURE_OVERLAP, 0
        while at + HEADER_BYTES <= limit:
            capture, flags, granule, serial, segments = HEADER.unpack_from(window, at)
            body = at + HEADER_BYTES + segments
            if capture != CAPTURE or flags & FIRST_PAGE or body > limit:
                break
            stream = self._streams.get(serial)
            end = body + window[body - 1]
            single = stream is not None and segments == 1 and body < end <= limit and not encloses_page(window, at, end)
            if (
                stream
                and single
                and (samples := stream.samples_of_only_packet(window[body : min(body + 2, end)], flags))
            ):
                self._add_page(stream, granule, window[body - 1] < 0xFF, samples)
                at, work = end, work + _PAGE_WORK + _PACKET_WORK
                continue
            lacing = window[at + HEADER_BYTES : body]
            end, page_work = body + sum(lacing), _page_work(segments)
            if end > limit or page_work > end - at or encloses_page(window, at, end):
                break
            if stream:
                page_samples = stream.samples_of_page(window[body:end], packet_starts(lacing, flags))
                if page_samples is None:
                    break
                self._add_page(stream, granule, segments - lacing.count(0xFF), page_samples)
            at, work = end, work + page_work
        if work:
            self._audio_began = True
            cursor.skip(at - cursor.at, work)

    def _open_stream(self, serial: int, packet: bytes) -> None:
        """Opens a stream by its first packet; after audio, it begins the next link of a chained file."""
        if self._audio_began:
            self._earlier_seconds, self._earlier_needed = self._seconds(), self._needed()
            self._streams, self._audio_began = {}, False
        stream = open_stream(packet)
        if stream and len(self._streams) < _MAX_STREAMS:
            self._streams[serial] = stream

    def _pass_page(self, cursor: Cursor, page: Page) -> Reading[bool]:
        """Passes a page and counts it; returns False if it is incomplete or encloses the beginning of another page.

        The checksum of an enclosing page is wrong: decoders drop that page and continue within it.
        """
        end, stream = cursor.position + page.size, self._streams.get(page.serial)
        single = page.segments == 1 and page.starts and page.body
        plain = stream and single and stream.samples_of_only_packet(page.body[: min(2, page.body_bytes)], 0)
        starts = page.starts[stream.header_packets :] if stream else []
        cursor.skip(1, _PAGE_WORK + _PACKET_WORK if plain else _page_work(page.segments))
        samples = yield from _read_packets(cursor, page, stream, starts)
        if samples is None or cursor.size < end:
            return False
        if stream:
            stream.header_packets -= len(page.starts) - len(starts)
            self._add_page(stream, page.granule, page.packets, samples)
        self._audio_began = self._audio_began or not page.is_first
        return True

    def _add_page(self, stream: LogicalStream, granule: int, packets: int, samples: float) -> None:
        stream.samples += samples
        if stream.sample_rate:
            stream.add_page(granule, packets)
            self._packets += packets

    def _seconds(self) -> float:
        """Seconds by granule positions, of this link and those before."""
        return self._earlier_seconds + max((stream.seconds for stream in self._streams.values()), default=0.0)

    def _needed(self) -> float:
        """Seconds by packets, of this link and those before."""
        return self._earlier_needed + max((stream.needed for stream in self._streams.values()), default=0.0)

    def evidence(self) -> Evidence:
        return Evidence(counted=self._seconds() or None, needed=self._needed() or None, packets=self._packets)


def _page_work(segments: int) -> int:
    return (_PAGE_WORK if segments > 1 else _SINGLE_PACKET_WORK) + segments * _PACKET_WORK


def _read_packets(cursor: Cursor, page: Page, stream: LogicalStream | None, starts: list[int]) -> Reading[float | None]:
    """Samples of the packets at these offsets of the body; None if another page begins within this one.

    Passes the page, whose first byte has been passed already.
    """
    total, passed = 0.0, 1 + page.body_bytes - page.size  # the offset in the body
    if stream and stream.sample_rate:
        for start in starts:
            if (yield from cursor.pass_until(CAPTURE, start - passed)):
                return None
            passed = start
            total += stream.samples_of_packet((yield min(stream.head_bytes, page.body_bytes - start)))
            cursor.spend(_PARSE_WORK if stream.head_bytes > 2 else 0)
    elif stream:
        total = page.body_bytes
    return None if (yield from cursor.pass_until(CAPTURE, page.body_bytes - passed)) else total
