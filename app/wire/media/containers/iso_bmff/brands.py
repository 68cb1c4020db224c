"""Recognises MP4 and M4A among ISO base media files (ISO/IEC 14496-12, 4.3; registered brands: mp4ra.org).

A file begins with `ftyp`: its major brand, a version, and its compatible brands. The major brand decides; if it is not
in the table, the first compatible brand that is decides. Older writers put `free`, `wide` or `skip` first; files joined
from pieces begin with `moov`. A fragment of a live stream (`moof`, often after `styp` and `sidx`) is not playable
without the `moov` at the beginning of its stream.

QuickTime (`qt `, and files that begin with `mdat`) is rejected, although its boxes are similar: endpoints that support
`mp4` do not promise `mov`, and its sound may have other codecs. Pictures (HEIC, AVIF) have the same boxes and are
rejected by name.
"""

from typing import Final

from app.wire.media.cursor import Cursor, Reading
from app.wire.media.formats import Container, HeaderMissing, Recognised

_M4A: Final = (b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B ")
_MP4: Final = (
    *(b"iso%c" % digit for digit in b"m23456789"),
    *(b"mp41", b"mp42", b"mp71", b"avc1", b"hvc1", b"av01", b"dash", b"msdh", b"msix", b"mmp4"),
    *(b"MSNV", b"M4V ", b"M4VH", b"M4VP", b"f4v ", b"F4V ", b"XAVC", b"cmfc", b"cmf2", b"cmfs", b"piff", b"NDSC"),
)
_REFUSED: Final = {
    b"qt  ": "QuickTime",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), "a HEIC picture"),
    **dict.fromkeys((b"avif", b"avis"), "an AVIF picture"),
}
_BRANDS: Final[dict[bytes, Container | str]] = {
    **_REFUSED,
    **dict.fromkeys(_M4A, Container.M4A),
    **dict.fromkeys(_MP4, Container.MP4),
}
_PADDING: Final = frozenset({b"free", b"wide", b"skip"})
_FRAGMENT: Final = frozenset({b"styp", b"sidx", b"prft", b"emsg", b"moof"})
_MAX_BOX_BYTES: Final = 1 << 28  # four ASCII letters read as a size are larger
_MAX_BRANDS: Final = 64


def recognise(cursor: Cursor) -> Reading[Recognised]:
    """MP4 or M4A, by its brands or by the first box that is not padding."""
    fragment = False
    while len(head := (yield 8)) == 8:
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"ftyp" and size >= 16:
            brands = yield min(size, 16 + 4 * _MAX_BRANDS)
            return by_brands(brands[8:12], brands[16:])
        if kind == b"moov" and size < _MAX_BOX_BYTES:
            return Container.MP4
        fragment = fragment or (kind in _FRAGMENT and size < _MAX_BOX_BYTES)
        if size < 8 or kind not in _PADDING | _FRAGMENT:
            break
        cursor.skip(size)
    return HeaderMissing("fragmented MP4") if fragment else ""


def by_brands(major: bytes, compatible: bytes) -> Container | str:
    """The container, or the name of the format, that these brands stand for."""
    if major[:3] in (b"3gp", b"3g2", b"3gs", b"3ge"):
        return Container.MP4
    for at in range(-4, len(compatible), 4):
        brand = major if at < 0 else compatible[at : at + 4]
        if found := _BRANDS.get(brand):
            return found
    return "an ISO media file of unknown brand"
