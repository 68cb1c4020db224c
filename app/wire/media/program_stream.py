"""MPEG program streams (ISO/IEC 11172-1, 2.4.3; ISO/IEC 13818-1, 2.5.3).

    00 00 01 BA  pack header: 12 bytes in MPEG-1; 14 and stuffing in MPEG-2
    00 00 01 id  length(2) { header of the packet | payload }     id C0 to DF: MPEG audio, BD: private (AC-3, DTS, LPCM)

The payloads of each stream of MPEG audio, one behind the other, are an MP3 file to its reader; the longest of them
counts. Sound in private streams is not read: its bytes count at the nominal bit rate. Pictures are passed by their
length.
"""

import re
from typing import Final

from app.wire.media.cursor import STEP, Cursor, Reading
from app.wire.media.evidence import Evidence
from app.wire.media.formats import Container
from app.wire.media.mp3 import Mp3Reader

_START: Final = re.compile(rb"\x00\x00\x01[\xb9-\xff]", re.DOTALL)
_START_BYTES: Final = 4
_HEAD_BYTES: Final = 32  # a packet's header up to its payload, as long as it is not stuffed
_PACK: Final = 0xBA
_END: Final = 0xB9
_PRIVATE: Final = 0xBD
_AUDIO: Final = range(0xC0, 0xE0)
_MOST_STREAMS: Final = 4
_PACKET_BYTES: Final = 6  # start code and length


class ProgramStreamReader:
    """Hands the payloads of each audio stream to a reader of its own."""

    def __init__(self) -> None:
        self._streams: dict[int, tuple[Mp3Reader, Cursor]] = {}
        self._private_bytes = 0

    def read(self, cursor: Cursor) -> Reading[None]:
        while (yield from cursor.find(_START, _START_BYTES)):
            head = yield _HEAD_BYTES
            if len(head) < _PACKET_BYTES:
                break
            kind, length = head[3], int.from_bytes(head[4:6], "big")
            if kind == _PACK:
                cursor.skip(_pack_bytes(head))
            elif kind == _END:
                cursor.skip(_START_BYTES)
            elif kind in _AUDIO:
                header = min(_PACKET_BYTES + length, payload_at(head))
                cursor.skip(header, 2 * STEP)
                yield from self._payload(cursor, kind, _PACKET_BYTES + length - header)
            else:
                self._private_bytes += length if kind == _PRIVATE else 0
                cursor.skip(_PACKET_BYTES + length)
        for _, stream in self._streams.values():
            stream.finish()

    def _payload(self, cursor: Cursor, kind: int, left: int) -> Reading[None]:
        """Hand on a payload in whatever portions it arrives."""
        if kind not in self._streams and len(self._streams) < _MOST_STREAMS:
            reader = Mp3Reader()
            self._streams[kind] = reader, Cursor(reader.read)
        while left and (data := (yield min(left, max(1, len(cursor.window) - cursor.at)))):
            if kind in self._streams:
                self._streams[kind][1].feed(data)
            cursor.skip(len(data), 0)
            left -= len(data)

    def evidence(self) -> Evidence:
        found = [reader.evidence() for reader, _ in self._streams.values()]
        private = self._private_bytes * 8 / Container.MPEG.nominal_bit_rate
        return Evidence(
            counted=max((each.counted or 0.0 for each in found), default=0.0) or None,
            needed=max([private, *(each.needed or 0.0 for each in found)]) or None,
            packets=max((each.packets for each in found), default=0),
            exact=not any(cursor.exhausted for _, cursor in self._streams.values()),
        )


def _pack_bytes(head: bytes) -> int:
    """The length of a pack header: MPEG-2 has 01 in the upper bits behind the start code."""
    if head[4] >> 6 == 1 and len(head) > 13:
        return 14 + (head[13] & 7)
    return 12


def payload_at(head: bytes) -> int:
    """Where the payload of the packet of audio begins that has these first bytes."""
    at = _PACKET_BYTES
    if len(head) > 8 and head[at] >> 6 == 2:
        return 9 + head[8]  # MPEG-2: two bytes of flags, the length of what follows
    while at < len(head) - 1 and head[at] == 0xFF:
        at += 1  # MPEG-1: stuffing, the size of a buffer, time stamps
    if head[at] >> 6 == 1 and at + 2 < len(head):
        at += 2
    return at + {2: 5, 3: 10}.get(head[at] >> 4, 1)
