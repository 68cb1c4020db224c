"""Which container a file is in, by its first bytes.

A table leads from what stands in the first twelve bytes to the container, or to a rule that looks closer. Names and
extensions play no part. What is not in the table may be an MP3 that begins in the middle of a frame; all else is not
taken. Where the bytes are of a well-known other kind, or of a listed one without its header, the verdict names it, for
the error message.

An ID3v2 tag may stand in front of MP3 and FLAC, of any length (pictures), and is passed over unseen. After it at most
`HEAD_BYTES` are looked at: a file that is still undecided then is not taken.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.wire.media import brands, ebml, flac, mp3, ogg
from app.wire.media.cursor import Cursor, Reading
from app.wire.media.formats import Container, Headless, Recognised
from app.wire.media.id3 import TAGGED, skip_padding, skip_tags

HEAD_BYTES: Final = 65_536
_SIGNATURE_BYTES: Final = 12

Rule = Callable[[Cursor], Reading[Recognised]]


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """Not a container that is taken. `kind` names what it is instead ("Matroska", "a PDF document") or is empty;
    `headless`: it is of that kind but for its beginning.
    """

    kind: str = ""
    headless: bool = False


_RULES: Final[tuple[tuple[re.Pattern[bytes], Recognised | Rule], ...]] = tuple(
    (re.compile(signature, re.DOTALL), rule)
    for signature, rule in (
        (rb"(RIFF|RF64|BW64)....WAVE", Container.WAV),
        (rb"fLaC[\x00\x80]\x00\x00\x22", Container.FLAC),
        (rb"OggS\x00", ogg.recognise),
        (rb"\x1aE\xdf\xa3", ebml.recognise),
        (rb"\x1f\x43\xb6\x75", Headless("WebM")),  # a cluster, or a block of one, as parts of a recording begin
        (rb"\xa3(?:[\x85-\xfe]|[\x40-\x7f].)[\x81-\x8f]..\x80", Headless("WebM")),
        (rb"....(ftyp|free|wide|skip|styp|sidx|moof|moov)", brands.recognise),
        (rb"\x00\x00\x01\xba[\x20-\x2f\x40-\x7f]", Container.MPEG),  # the marker bits of MPEG-1 and MPEG-2
        (rb"\xff\xfe(.\x00){4}|\xfe\xff(\x00.){4}", "UTF-16 text"),  # FF FE could be MPEG layer I as well
        (rb"\xff[\xf8\xf9][\x10-\xef]", flac.recognise),
        (rb"\xff[\xe0-\xff]", mp3.recognise),
        (rb"....mdat", "QuickTime"),
        (rb"FORM....AIF[FC]", "AIFF"),
        (rb"caff", "CAF"),
        (rb"#!AMR", "AMR"),
        (rb"#!SILK", "SILK"),
        (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA (ASF)"),
        (rb"RIFF....AVI ", "AVI"),
        (rb"RIFF....WEBP", "a WebP picture"),
        (rb"riff\x2e\x91\xcf\x11", "Wave64"),
        (rb"FLV\x01", "Flash video"),
        (rb"wvpk", "WavPack"),
        (rb"MThd", "MIDI"),
        (rb"\.snd", "AU"),
        (rb"ADIF", "AAC (ADIF)"),
        (rb"\x00\x00\x01\xb3", "MPEG video without a container"),
        (rb"MZ", "a Windows program"),
        (rb"\x7fELF", "a program"),
        (rb"PK(\x03\x04|\x05\x06|\x07\x08)", "a ZIP archive"),
        (rb"\x1f\x8b", "a gzip archive"),
        (rb"%PDF", "a PDF document"),
        (rb"\s*(?i:<!doctype|<html|<\?xml)", "an HTML or XML document"),
        (rb"\s*[{\[]\s*[\"{\[\]}]", "JSON"),
        (rb"\xff\xd8\xff|\x89PNG|GIF8", "a picture"),
    )
)


class Sniffer:
    """Told the file's first bytes in any portions, says what container it is as soon as that is certain.

    `verdict` is the container, `Unrecognised`, or None as long as more bytes are wanted.
    """

    def __init__(self) -> None:
        self.verdict: Container | Unrecognised | None = None
        self._cursor = Cursor(self._read)

    def feed(self, data: bytes) -> None:
        """Hand on more bytes; after the verdict they are ignored."""
        self._cursor.feed(data)

    def finish(self) -> None:
        """Say that the file has ended: now there is a verdict."""
        self._cursor.finish()

    def _read(self, cursor: Cursor) -> Reading[None]:
        head = yield _SIGNATURE_BYTES
        tagged = head.startswith(b"ID3") and (yield from skip_tags(cursor))
        cursor.confine(HEAD_BYTES)
        if tagged:
            yield from skip_padding(cursor)
            head = yield _SIGNATURE_BYTES
        found = _by_signature(head)
        if callable(found):
            found = yield from found(cursor)
        if isinstance(found, Container):
            self.verdict = found if not tagged or found in TAGGED else Unrecognised()
        elif isinstance(found, Headless):
            self.verdict = Unrecognised(found.format, headless=True)
        else:
            self.verdict = Unrecognised(found)


def _by_signature(head: bytes) -> Recognised | Rule:
    if len(head) < _SIGNATURE_BYTES:
        return ""
    return next((found for signature, found in _RULES if signature.match(head)), mp3.recognise_cut)
