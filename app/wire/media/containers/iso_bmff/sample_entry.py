"""How long a sound track's packets last, by its sample description (ISO/IEC 14496-12, 8.5.2, 12.2.3; 14496-14, 5.6).

    stsd    version(4) count(4) { size(4) format(4) 8 bytes | version(2) .. channels(2) bits(2) 4 bytes rate(16.16) .. }

The sample rate is that of the codec's own configuration, because decoders read that one and not the field `rate`.
For AAC it is in the AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1) in `esds`. AAC packets have 1,024 samples (960 by a
flag; half of that in the low-delay profiles; 768 in USAC) and at most 6,144 bits a channel (ISO/IEC 14496-3, 4.5.3.3).
Spectral band replication doubles both the samples and the rate, so the time stays the same.

For other codecs, `seconds` is the usual length of a packet: 20 ms for Opus and unknown codecs.
"""

from typing import Final, NamedTuple

DESCRIPTION_BYTES: Final = 512  # the part of a `stsd` that is read
_MAX_ENTRIES: Final = 4
_SOUND_ENTRY_BYTES: Final = 36
_AAC_RATES: Final = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AAC_FRAME_BITS: Final = 6_144  # a channel
_EXPLICIT_RATE: Final = 15
_SBR_TYPES: Final = frozenset({5, 29})
_LOW_DELAY_TYPES: Final = frozenset({23, 39})
_USAC: Final = 42
_FRAMED_TYPES: Final = frozenset({1, 2, 3, 4, 6, 7, 17, 19, 20, 22}) | _LOW_DELAY_TYPES
_AAC_OBJECTS: Final = frozenset({0x40, 0x66, 0x67, 0x68})
_MIN_MP3_SECONDS: Final = 0.024  # 1,152 samples at 48 kHz, or 576 at 24 kHz
_USUAL_SECONDS: Final = 0.02
_PACKET_SECONDS: Final = {b"ac-3": 0.032, b"ec-3": 0.032}
_SAMPLE_BITS: Final = dict.fromkeys((b"sowt", b"twos", b"lpcm", b"ipcm", b"raw ", b"NONE"), 0) | {
    **dict.fromkeys((b"ulaw", b"alaw"), 8),
    **dict.fromkeys((b"in24",), 24),
    **dict.fromkeys((b"in32", b"fl32"), 32),
    **dict.fromkeys((b"fl64",), 64),
    b"fpcm": 0,
}
_AMR_BIT_RATES: Final = {b"samr": 12_800, b"sawb": 24_400}  # of the highest mode, with frame headers
_SPEECH_BIT_RATE: Final = 16_000  # a channel


class Packets(NamedTuple):
    """The length of a packet in seconds and the codec's highest bit rate; 0 if the entry does not give them.

    max_bytes: the size of the largest packet. A larger sample holds several packets, at `hidden_bit_rate`.
    """

    seconds: float = 0.0
    highest_bit_rate: float = 0.0
    max_bytes: int = 0
    hidden_bit_rate: int = _SPEECH_BIT_RATE


def parse_sample_entries(description: bytes) -> list[Packets]:
    """The packets by each sample entry of a `stsd` payload."""
    packets: list[Packets] = []
    at = 8
    while len(packets) < _MAX_ENTRIES and at + _SOUND_ENTRY_BYTES <= len(description):
        size = int.from_bytes(description[at : at + 4], "big")
        if size < _SOUND_ENTRY_BYTES:
            break
        packets.append(_packets(description[at : at + size]))
        at += size
    return packets


def _packets(entry: bytes) -> Packets:
    kind, channels = entry[4:8], int.from_bytes(entry[24:26], "big") or 1
    bits, rate = int.from_bytes(entry[26:28], "big"), int.from_bytes(entry[32:34], "big")
    if kind == b"mp4a":
        return _mpeg4(entry)
    if (sample_bits := _SAMPLE_BITS.get(kind)) is not None:
        return Packets(highest_bit_rate=float((sample_bits or bits) * channels * rate))
    if kind == b"alac" and (cookie := entry[_SOUND_ENTRY_BYTES:]).find(b"alac") == 4:
        return _alac(cookie[12:])
    if kind == b"fLaC" and (found := entry.find(b"dfLa", _SOUND_ENTRY_BYTES)) >= 0:
        return _flac(entry[found + 12 :])
    if kind == b".mp3":
        return Packets(_mp3_seconds(rate))
    if kind in _AMR_BIT_RATES:
        return Packets(_USUAL_SECONDS, float(_AMR_BIT_RATES[kind]))
    return Packets(_PACKET_SECONDS.get(kind, _USUAL_SECONDS))


def _alac(cookie: bytes) -> Packets:
    """Apple Lossless; its magic cookie has samples of a packet at 0, bits at 5, channels at 9 and the rate at 20."""
    samples, rate = int.from_bytes(cookie[:4], "big"), int.from_bytes(cookie[20:24], "big")
    if len(cookie) < 24 or not samples or not rate:
        return Packets(_USUAL_SECONDS)
    return Packets(samples / rate, float(rate * cookie[5] * cookie[9]))


def _flac(stream_info: bytes) -> Packets:
    """FLAC; STREAMINFO has samples of the largest block at 2 and the rate at 10 (RFC 9639, 8.2)."""
    samples, rate = int.from_bytes(stream_info[2:4], "big"), int.from_bytes(stream_info[10:13], "big") >> 4
    return Packets(samples / rate if rate else _USUAL_SECONDS)


def _mp3_seconds(rate: int) -> float:
    return max(_MIN_MP3_SECONDS, (1152 if rate >= 32_000 else 576) / rate if rate else 0.0)


def _mpeg4(entry: bytes) -> Packets:
    """MPEG-4 audio, by `esds`: AAC by its configuration, MP3 and others by their object type."""
    found = entry.find(b"esds", _SOUND_ENTRY_BYTES)
    kind, configuration = _decoder_config(entry[found + 8 :]) if found >= 0 else (0, b"")
    if kind in _AAC_OBJECTS and (aac := _aac(configuration)):
        return aac
    return Packets(_mp3_seconds(int.from_bytes(entry[32:34], "big")) if kind in (0x69, 0x6B) else _USUAL_SECONDS)


def _decoder_config(descriptors: bytes) -> tuple[int, bytes]:
    """Object type and decoder-specific information of an ES descriptor (ISO/IEC 14496-1, 7.2.6)."""
    at, kind = 0, 0
    while at < len(descriptors):
        tag, at = descriptors[at], at + 1
        size = 0
        for _ in range(4):
            byte = descriptors[at] if at < len(descriptors) else 0
            size, at = size << 7 | byte & 0x7F, at + 1
            if byte < 0x80:
                break
        if tag == 3:
            flags = descriptors[at + 2] if at + 2 < len(descriptors) else 0
            address = descriptors[at + 3] + 1 if flags & 0x40 and at + 3 < len(descriptors) else 0
            at += 3 + (2 if flags & 0x80 else 0) + address + (2 if flags & 0x20 else 0)
        elif tag == 4:
            kind, at = descriptors[at] if at < len(descriptors) else 0, at + 13
        elif tag == 5:
            return kind, descriptors[at : at + size]
        else:
            at += size
    return kind, b""


class _Bits:
    """Reads bits from the front of bytes."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data[:16].ljust(16, b"\0"), "big"), 128

    def take(self, count: int) -> int:
        self._left -= count
        return self._value >> max(0, self._left) & (1 << count) - 1


def _aac(configuration: bytes) -> Packets | None:
    """AAC, by its AudioSpecificConfig; None for another kind of audio or without a sample rate."""
    bits = _Bits(configuration)
    kind, rate, channels = _object_type(bits), _rate(bits), bits.take(4)
    if kind in _SBR_TYPES:
        _rate(bits)
        kind = _object_type(bits)
    if not rate or (kind not in _FRAMED_TYPES and kind != _USAC):
        return None
    short = kind in _FRAMED_TYPES and bits.take(1)
    samples = (480 if short else 512) if kind in _LOW_DELAY_TYPES else 768 if kind == _USAC else 960 if short else 1024
    count = channels if 1 <= channels <= 6 else 8
    max_bits = _AAC_FRAME_BITS * count
    return Packets(samples / rate, max_bits * rate / samples, max_bits // 8, _SPEECH_BIT_RATE * count)


def _object_type(bits: _Bits) -> int:
    kind = bits.take(5)
    return kind if kind != 31 else 32 + bits.take(6)


def _rate(bits: _Bits) -> int:
    index = bits.take(4)
    if index == _EXPLICIT_RATE:
        return bits.take(24)
    return _AAC_RATES[index] if index < len(_AAC_RATES) else 0
