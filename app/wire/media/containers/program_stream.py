"""MPEG program streams (ISO/IEC 11172-1, 2.4.3; ISO/IEC 13818-1, 2.5.3).

    00 00 01 BA  pack header: 12 bytes in MPEG-1; 14 and stuffing in MPEG-2
    00 00 01 id  length(2) { header of the packet | payload }     id C0 to DF: MPEG audio, BD: private (AC-3, DTS, LPCM)

The joined payloads of each stream of MPEG audio are read as an MP3 file; the longest stream counts. Sound in private
streams is not read: its bytes count at the nominal bit rate. Pictures are passed by their length.
"""

import re
from typing import Final

from app.wire.media.containers.mp3 import Mp3Reader
from app.wire.media.cursor import STEP, Cursor, Reading
from app.wire.media.evidence import Evidence
from app.wire.media.formats import Container

_START: Final = re.compile(rb"\x00\x00\x01[\xb9-\xff]", re.DOTALL)
_START_BYTES: Final = 4
_HEAD_BYTES: Final = 32  # a packet's header up to its payload, unless it has much stuffing
_PACK: Final = 0xBA
_END: Final = 0xB9
_PRIVATE: Final = 0xBD
_AUDIO: Final = range(0xC0, 0xE0)
_MAX_STREAMS: Final = 4
_PACKET_BYTES: Final = 6  # start code and length


class ProgramStreamReader:
    """Feeds the payloads of each audio stream to a separate MP3 reader."""

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
        """Feeds a payload to its reader in the chunks in which it arrives."""
        if kind not in self._streams and len(self._streams) < _MAX_STREAMS:
            reader = Mp3Reader()
            self._streams[kind] = reader, Cursor(reader.read)
        while left and (data := (yield min(left, max(1, len(cursor.window) - cursor.at)))):
            if kind in self._streams:
                self._streams[kind][1].feed(data)
            cursor.skip(len(data), 0)
            left -= len(data)

    def evidence(self) -> Evidence:
        streams = [reader.evidence() for reader, _ in self._streams.values()]
        private = self._private_bytes * 8 / Container.MPEG.nominal_bit_rate
        return Evidence(
            counted=max((stream.counted or 0.0 for stream in streams), default=0.0) or None,
            needed=max([private, *(stream.needed or 0.0 for stream in streams)]) or None,
            packets=max((stream.packets for stream in streams), default=0),
            exact=not any(cursor.exhausted for _, cursor in self._streams.values()),
        )


def _pack_bytes(head: bytes) -> int:
    """The length of a pack header; that of MPEG-2 has the bits 01 after the start code."""
    if head[4] >> 6 == 1 and len(head) > 13:
        return 14 + (head[13] & 7)
    return 12


def payload_at(head: bytes) -> int:
    """The offset of the payload in an audio packet that begins with these bytes."""
    at = _PACKET_BYTES
    if len(head) > 8 and head[at] >> 6 == 2:
        return 9 + head[8]  # MPEG-2: two bytes of flags, then the length of the rest of the header
    while at < len(head) - 1 and head[at] == 0xFF:
        at += 1  # MPEG-1: stuffing, the size of a buffer, time stamps
    if head[at] >> 6 == 1 and at + 2 < len(head):
        at += 2
    return at + {2: 5, 3: 10}.get(head[at] >> 4, 1)
