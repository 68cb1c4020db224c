"""Recognises a file's container by its first bytes.

A table maps the first twelve bytes to the container, or to a rule that looks closer. Names and extensions do not
matter. A file that is not in the table may be an MP3 that begins in the middle of a frame; every other file is
rejected. If the bytes are of a known other format, or of a listed one without its header, the result names it for the
error message.

MP3 and FLAC may begin with an ID3v2 tag of any length (it may hold pictures), which is passed unread. After it, the
rules see at most `HEAD_BYTES`: a file that is still undecided then is rejected.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.wire.media.containers import flac, iso_bmff, mp3, ogg, webm
from app.wire.media.containers.id3 import TAGGED, skip_padding, skip_tags
from app.wire.media.cursor import Cursor, Reading
from app.wire.media.formats import Container, HeaderMissing, Recognised

HEAD_BYTES: Final = 65_536
_SIGNATURE_BYTES: Final = 12

Rule = Callable[[Cursor], Reading[Recognised]]


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """Not an accepted container.

    kind: what the file is instead ("Matroska", "a PDF document"), or empty. header_missing: the file is a part of a
    file of that kind without its beginning.
    """

    kind: str = ""
    header_missing: bool = False


_RULES: Final[tuple[tuple[re.Pattern[bytes], Recognised | Rule], ...]] = tuple(
    (re.compile(signature, re.DOTALL), rule)
    for signature, rule in (
        (rb"(RIFF|RF64|BW64)....WAVE", Container.WAV),
        (rb"fLaC[\x00\x80]\x00\x00\x22", Container.FLAC),
        (rb"OggS\x00", ogg.recognise),
        (rb"\x1aE\xdf\xa3", webm.recognise),
        (rb"\x1f\x43\xb6\x75", HeaderMissing("WebM")),  # parts of a recording begin with a cluster or a block
        (rb"\xa3(?:[\x85-\xfe]|[\x40-\x7f].)[\x81-\x8f]..\x80", HeaderMissing("WebM")),
        (rb"....(ftyp|free|wide|skip|styp|sidx|moof|moov)", iso_bmff.recognise),
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
    """Recognises one file from its first bytes, in chunks of any size.

    `verdict` is the container, `Unrecognised`, or None while more bytes are needed.
    """

    def __init__(self) -> None:
        self.verdict: Container | Unrecognised | None = None
        self._cursor = Cursor(self._read)

    def feed(self, data: bytes) -> None:
        """Takes the next bytes; ignores them once there is a verdict."""
        self._cursor.feed(data)

    def finish(self) -> None:
        """Marks the end of the file; after it there is a verdict."""
        self._cursor.finish()

    def _read(self, cursor: Cursor) -> Reading[None]:
        head = yield _SIGNATURE_BYTES
        tagged = head.startswith(b"ID3") and (yield from skip_tags(cursor))
        cursor.confine(HEAD_BYTES)
        if tagged:
            yield from skip_padding(cursor)
            head = yield _SIGNATURE_BYTES
        recognised = _by_signature(head)
        if callable(recognised):
            recognised = yield from recognised(cursor)
        if isinstance(recognised, Container):
            self.verdict = recognised if not tagged or recognised in TAGGED else Unrecognised()
        elif isinstance(recognised, HeaderMissing):
            self.verdict = Unrecognised(recognised.format, header_missing=True)
        else:
            self.verdict = Unrecognised(recognised)


def _by_signature(head: bytes) -> Recognised | Rule:
    """The entry of the table that these bytes match."""
    if len(head) < _SIGNATURE_BYTES:
        return ""
    return next((entry for signature, entry in _RULES if signature.match(head)), mp3.recognise_cut)
