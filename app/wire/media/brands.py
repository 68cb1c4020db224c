"""Which ISO base media files are MP4 or M4A (ISO/IEC 14496-12, 4.3; the registered brands of mp4ra.org).

A file opens with `ftyp`: its major brand, a version, and the brands that it is compatible with. The major brand
decides; one that is not in the table goes by the first compatible brand that is. Older writers put `free`, `wide` or
`skip` before it; pieces of files that were cut together begin with `moov`. A fragment of a live stream (`moof`, often
behind `styp` and `sidx`) is not playable without the `moov` that its stream began with.

QuickTime (`qt `, and files that open with `mdat`) is refused, although its boxes are much the same: endpoints that know
`mp4` do not promise `mov`, and its sound may be in codecs of its own. Still pictures (HEIC, AVIF) have the same boxes
too and are refused by name.
"""

from typing import Final

from app.wire.media.cursor import Cursor, Reading
from app.wire.media.formats import Container, Headless, Recognised

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
_LARGEST: Final = 1 << 28  # four letters of text make a size beyond this
_MOST_BRANDS: Final = 64


def recognise(cursor: Cursor) -> Reading[Recognised]:
    """MP4 or M4A by the brands, or by the first box that is not padding."""
    fragment = False
    while len(head := (yield 8)) == 8:
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"ftyp" and size >= 16:
            brands = yield min(size, 16 + 4 * _MOST_BRANDS)
            return by_brands(brands[8:12], brands[16:])
        if kind == b"moov" and size < _LARGEST:
            return Container.MP4
        fragment = fragment or (kind in _FRAGMENT and size < _LARGEST)
        if size < 8 or kind not in _PADDING | _FRAGMENT:
            break
        cursor.skip(size)
    return Headless("fragmented MP4") if fragment else ""


def by_brands(major: bytes, compatible: bytes) -> Container | str:
    """What a file of these brands is."""
    if major[:3] in (b"3gp", b"3g2", b"3gs", b"3ge"):
        return Container.MP4
    for at in range(-4, len(compatible), 4):
        brand = major if at < 0 else compatible[at : at + 4]
        if found := _BRANDS.get(brand):
            return found
    return "an ISO media file of unknown brand"
