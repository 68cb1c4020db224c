"""Which container a file is in, by its first bytes.

A table leads from what stands in the first twelve bytes to a rule that looks closer. Names and extensions play no part.
What is not in the table, or fails its rule, is not taken; where the bytes are of a well-known other kind, the verdict
names it, for the error message.

An ID3v2 tag may stand in front of MP3 and FLAC, of any length (pictures), and is passed over unseen. After it at most
`HEAD_BYTES` are looked at: a file that is still undecided then is not taken.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.wire.container import brands, ebml, mp3, ogg
from app.wire.container.cursor import Cursor, Reading
from app.wire.container.formats import Container
from app.wire.container.id3 import skip_padding, skip_tags

HEAD_BYTES: Final = 65_536
_SIGNATURE_BYTES: Final = 12

Rule = Callable[[Cursor], Reading[Container | str]]


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """Not a container that is taken. `kind` names what it is instead ("Matroska", "a PDF document") or is empty."""

    kind: str = ""


def _is(found: Container | str) -> Rule:
    def rule(_cursor: Cursor) -> Reading[Container | str]:
        return found
        yield

    return rule


_RULES: Final[tuple[tuple[re.Pattern[bytes], Rule], ...]] = tuple(
    (re.compile(signature, re.DOTALL), rule)
    for signature, rule in (
        (rb"(RIFF|RF64|BW64)....WAVE", _is(Container.WAV)),
        (rb"fLaC[\x00\x80]\x00\x00\x22", _is(Container.FLAC)),
        (rb"OggS\x00", ogg.recognise),
        (rb"\x1aE\xdf\xa3", ebml.recognise),
        (rb"....(ftyp|free|wide|skip|styp|sidx|moof|moov)", brands.recognise),
        (rb"\x00\x00\x01\xba[\x20-\x2f\x40-\x7f]", _is(Container.MPEG)),  # the marker bits of MPEG-1 and MPEG-2
        (rb"\xff\xfe(.\x00){4}|\xfe\xff(\x00.){4}", _is("UTF-16 text")),  # FF FE could be MPEG layer I as well
        (rb"\xff[\xe0-\xff]", mp3.recognise),
        (rb"....mdat", _is("QuickTime")),
        (rb"FORM....AIF[FC]", _is("AIFF")),
        (rb"caff", _is("CAF")),
        (rb"#!AMR", _is("AMR")),
        (rb"#!SILK", _is("SILK")),
        (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _is("WMA (ASF)")),
        (rb"RIFF....AVI ", _is("AVI")),
        (rb"RIFF....WEBP", _is("a WebP picture")),
        (rb"riff\x2e\x91\xcf\x11", _is("Wave64")),
        (rb"FLV\x01", _is("Flash video")),
        (rb"wvpk", _is("WavPack")),
        (rb"MThd", _is("MIDI")),
        (rb"\.snd", _is("AU")),
        (rb"ADIF", _is("AAC (ADIF)")),
        (rb"\x00\x00\x01\xb3", _is("MPEG video without a container")),
        (rb"MZ", _is("a Windows program")),
        (rb"\x7fELF", _is("a program")),
        (rb"PK(\x03\x04|\x05\x06|\x07\x08)", _is("a ZIP archive")),
        (rb"\x1f\x8b", _is("a gzip archive")),
        (rb"%PDF", _is("a PDF document")),
        (rb"\s*(?i:<!doctype|<html|<\?xml)", _is("an HTML or XML document")),
        (rb"\s*[{\[]\s*[\"{\[\]}]", _is("JSON")),
        (rb"\xff\xd8\xff|\x89PNG|GIF8", _is("a picture")),
    )
)
_BEHIND_ID3: Final = frozenset({Container.MP3, Container.FLAC})


class Sniffer:
    """Told the file's first bytes in any portions, says what container it is as soon as that is certain."""

    def __init__(self) -> None:
        self._verdict: Container | Unrecognised | None = None
        self._cursor = Cursor(self._read)

    @property
    def verdict(self) -> Container | Unrecognised | None:
        """The container, `Unrecognised`, or None as long as more bytes are wanted."""
        return self._verdict

    def feed(self, data: bytes) -> None:
        """Hand on more bytes; after the verdict they are ignored."""
        if self._verdict is None:
            self._cursor.feed(data)

    def finish(self) -> None:
        """Say that the file has ended: now there is a verdict."""
        self._cursor.finish()

    def _read(self, cursor: Cursor) -> Reading[None]:
        tagged = yield from skip_tags(cursor)
        cursor.limit = cursor.position + HEAD_BYTES
        if tagged:
            yield from skip_padding(cursor)
        found = yield from _recognise(cursor)
        if not isinstance(found, Container):
            self._verdict = Unrecognised(found)
        else:
            self._verdict = found if not tagged or found in _BEHIND_ID3 else Unrecognised()


def _recognise(cursor: Cursor) -> Reading[Container | str]:
    head = yield from cursor.peek(_SIGNATURE_BYTES)
    if len(head) == _SIGNATURE_BYTES:
        for signature, rule in _RULES:
            if signature.match(head):
                return (yield from rule(cursor))
    return ""
