"""Elements of EBML (RFC 8794), of which Matroska (RFC 9559) and its profile WebM consist.

    id(1 to 4 bytes) size(1 to 8 bytes; all ones: unknown) payload or elements

The leading zero bits of a number give its width in bytes.
"""

from typing import Final

from app.wire.media.cursor import Cursor, Reading
from app.wire.media.formats import Container, Recognised

WIDTHS: Final = bytes(9 - value.bit_length() for value in range(256))
"""The width in bytes of a number by its first byte; 9 for 0, with which no number begins."""

_DOC_TYPE: Final = 0x4282
_HEADER_BYTES: Final = 12


def parse_element(head: bytes) -> tuple[int, int | None, int] | None:
    """Id, size (None for unknown) and header length of the element that begins here; None if no element does."""
    if not head or (id_width := WIDTHS[head[0]]) > 4 or len(head) <= id_width:
        return None
    size_width = WIDTHS[head[id_width]]
    header = id_width + size_width
    if size_width > 8 or len(head) < header:
        return None
    unknown = (1 << 7 * size_width) - 1
    size = int.from_bytes(head[id_width:header], "big") & unknown
    return int.from_bytes(head[:id_width], "big"), None if size == unknown else size, header


def recognise(cursor: Cursor) -> Reading[Recognised]:
    """WebM by the document type in the EBML header; another type is Matroska or an unknown format."""
    head = parse_element((yield _HEADER_BYTES))
    if head is None or head[1] is None:
        return ""
    cursor.skip(head[2])
    end = cursor.position + head[1]
    while cursor.position < end and (element := parse_element((yield _HEADER_BYTES))):
        kind, size, header = element
        if size is None:
            break
        cursor.skip(header)
        if kind == _DOC_TYPE:
            document = (yield min(size, 16)).rstrip(b"\0")
            return Container.WEBM if document == b"webm" else "Matroska" if document == b"matroska" else "EBML"
        cursor.skip(size)
    return "EBML"
