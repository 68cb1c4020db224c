"""ID3v2 tags at the beginning of a file (id3.org, "ID3 tag version 2.4.0 - Main Structure", 3.1).

    "ID3" | version, revision (never FF) | flags | size (4 bytes of 7 bits each, without these 10 bytes)

A tag may hold pictures and be of any length, and several may follow each other. Readers pass them by their size. A
footer (flag 10) repeats the header after the tag and is not part of the size.
"""

import re
from typing import Final

from app.wire.media.cursor import STEP, Cursor, Reading
from app.wire.media.formats import Container

TAGGED: Final = frozenset({Container.MP3, Container.FLAC})
"""The containers that may begin with such tags."""

_HEADER: Final = re.compile(rb"ID3[^\xff]{2}.[\x00-\x7f]{4}", re.DOTALL)
_HEADER_BYTES: Final = 10
_HAS_FOOTER: Final = 0x10
_NOT_ZERO: Final = re.compile(rb"[^\0]")


def skip_tags(cursor: Cursor) -> Reading[bool]:
    """Passes all ID3v2 tags at the cursor; returns whether there was one."""
    tagged = False
    while _HEADER.match(head := (yield _HEADER_BYTES)):
        cursor.skip(tag_bytes(head), 2 * STEP)
        tagged = True
    return tagged


def skip_padding(cursor: Cursor) -> Reading[None]:
    """Passes the zero bytes that some writers put after a tag without counting them in its size."""
    yield from cursor.find(_NOT_ZERO, 1)


def tag_bytes(head: bytes) -> int:
    """The length of the tag that begins with these ten bytes, header and footer included."""
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return _HEADER_BYTES + size + (_HEADER_BYTES if head[5] & _HAS_FOOTER else 0)
