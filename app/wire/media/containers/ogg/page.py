"""Pages of Ogg (RFC 3533, 6).

    "OggS" version flags granule(8) serial(4) sequence(4) crc(4) segments(1) lacing values | body

A lacing value of 255 says that its packet continues with the next segment.
"""

from itertools import accumulate, compress
from operator import and_
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

CAPTURE: Final = b"OggS\0"
HEADER: Final = Struct("<5sBQI8xB")
HEADER_BYTES: Final = 27
CONTINUED: Final = 0x01  # flag: the page continues a packet of the page before
FIRST_PAGE: Final = 0x02  # flag: the page begins a logical stream
_IDENTIFICATION_BYTES: Final = 80
HEAD_BYTES: Final = HEADER_BYTES + 255 + _IDENTIFICATION_BYTES
"""The most bytes of a page that a reader needs: its header, and its body as far as an identification header goes."""

_CAPTURE_OVERLAP: Final = len(CAPTURE) - 1
_REVERSED_BITS: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_ENDS_PACKET: Final = bytes([1] * 255 + [0])  # by lacing value
_HAS_BYTES: Final = bytes([0] + [1] * 255)


class Page(NamedTuple):
    """A page's header.

    packets: packets that end on this page. starts: offsets in the body of the packets that begin here. body: the first
    bytes of the body, as far as an identification header goes.
    """

    is_first: bool
    granule: int
    serial: int
    packets: int
    segments: int
    size: int
    body_bytes: int
    starts: list[int]
    body: bytes


def parse_page(head: bytes) -> Page | None:
    """The page that begins with these bytes; None if no page does, or if the file ends in its header."""
    if len(head) < HEADER_BYTES:
        return None
    capture, flags, granule, serial, segments = HEADER.unpack_from(head)
    body = HEADER_BYTES + segments
    lacing = head[HEADER_BYTES:body]
    if capture != CAPTURE or len(lacing) < segments:
        return None
    return Page(
        is_first=flags & FIRST_PAGE != 0,
        granule=granule,
        serial=serial,
        packets=segments - lacing.count(0xFF),
        segments=segments,
        size=body + sum(lacing),
        body_bytes=sum(lacing),
        starts=packet_starts(lacing, flags),
        body=head[body : body + _IDENTIFICATION_BYTES],
    )


def packet_starts(lacing: bytes, flags: int) -> list[int]:
    """Offsets in the body of the packets that begin on a page.

    A packet begins after each lacing value below 255, and at offset 0 unless the page continues a packet. An empty
    packet stands for a lost one and does not count.
    """
    previous = (b"\xff" if flags & CONTINUED else b"\0") + lacing[:-1]
    begins = map(and_, previous.translate(_ENDS_PACKET), lacing.translate(_HAS_BYTES))
    return list(compress(accumulate(lacing, initial=0), begins))


def encloses_page(window: bytes, start: int, end: int) -> bool:
    """Whether another page begins within the page window[start:end]; the checksum of the outer page is then wrong."""
    return -1 < window.find(CAPTURE, start + 1, end + _CAPTURE_OVERLAP) < end


def checksum(page: bytes) -> int:
    """The CRC-32 of a page with its checksum field as 0 (polynomial 04C11DB7, highest bit first, no complement).

    zlib's CRC-32 uses the reverse bit order: over bytes with reversed bits, its register has the same bits in reverse.
    """
    reversed_page = (page[:22] + bytes(4) + page[26:]).translate(_REVERSED_BITS)
    register = crc32(reversed_page, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(register.to_bytes(4, "little").translate(_REVERSED_BITS), "big")
