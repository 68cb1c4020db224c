"""What a sound track's sample description says of its packets (ISO/IEC 14496-12, 8.5.2 and 12.2.3; 14496-14, 5.6).

    stsd    version(4) count(4) { size(4) format(4) 8 bytes | version(2) .. channels(2) bits(2) 4 bytes rate(16.16) .. }

The rate of a packet is that of the codec's own configuration, which is what a decoder reads, and not the field beside
it: for AAC the AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1) in `esds`. Its packets have 1,024 samples (960 by a flag;
half of that in the low-delay profiles; 768 in USAC), and at most 6,144 bits a channel (ISO/IEC 14496-3, 4.5.3.3).
Spectral band replication doubles both the samples and the rate, so the time stays the same.

Of other codecs `seconds` is what their packets have as encoders write them: for Opus and unknown ones 20 ms.
"""

from typing import Final, NamedTuple

ENTRY_BYTES: Final = 512  # as far as a `stsd` is looked at
_MOST_ENTRIES: Final = 4
_SOUND_ENTRY_BYTES: Final = 36
_AAC_RATES: Final = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AAC_FRAME_BITS: Final = 6_144  # a channel
_LONG_RATE: Final = 15
_SBR_TYPES: Final = frozenset({5, 29})
_LOW_DELAY_TYPES: Final = frozenset({23, 39})
_USAC: Final = 42
_FRAMED_TYPES: Final = frozenset({1, 2, 3, 4, 6, 7, 17, 19, 20, 22}) | _LOW_DELAY_TYPES
_AAC_OBJECTS: Final = frozenset({0x40, 0x66, 0x67, 0x68})
_SHORTEST_MP3: Final = 0.024  # 1,152 samples at 48 kHz, or 576 at 24 kHz
_USUAL_SECONDS: Final = 0.02
_PACKET_SECONDS: Final = {b"ac-3": 0.032, b"ec-3": 0.032}
_SAMPLE_BITS: Final = dict.fromkeys((b"sowt", b"twos", b"lpcm", b"ipcm", b"raw ", b"NONE"), 0) | {
    **dict.fromkeys((b"ulaw", b"alaw"), 8),
    **dict.fromkeys((b"in24",), 24),
    **dict.fromkeys((b"in32", b"fl32"), 32),
    **dict.fromkeys((b"fl64",), 64),
    b"fpcm": 0,
}
_LOWEST_RATES: Final = {b"samr": 12_800, b"sawb": 24_400}  # AMR's highest modes, with the frame's header
_SPEECH_BIT_RATE: Final = 16_000  # a channel


class Packets(NamedTuple):
    """What a packet lasts and how many bits a second there can be; 0 where the entry does not say.

    largest: bytes of the largest packet. One that is larger holds several, at `hidden_bit_rate`.
    """

    seconds: float = 0.0
    highest_bit_rate: float = 0.0
    largest: int = 0
    hidden_bit_rate: int = _SPEECH_BIT_RATE


def entries(description: bytes) -> list[Packets]:
    """The sample entries of a `stsd` payload, as far as they are of sound."""
    found: list[Packets] = []
    at = 8
    while len(found) < _MOST_ENTRIES and at + _SOUND_ENTRY_BYTES <= len(description):
        size = int.from_bytes(description[at : at + 4], "big")
        if size < _SOUND_ENTRY_BYTES:
            break
        found.append(_packets(description[at : at + size]))
        at += size
    return found


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
    if kind in _LOWEST_RATES:
        return Packets(_USUAL_SECONDS, float(_LOWEST_RATES[kind]))
    return Packets(_PACKET_SECONDS.get(kind, _USUAL_SECONDS))


def _alac(cookie: bytes) -> Packets:
    """Apple Lossless: samples of a packet at 0, bits at 5, channels at 9 and rate at 20 of its magic cookie."""
    samples, rate = int.from_bytes(cookie[:4], "big"), int.from_bytes(cookie[20:24], "big")
    if len(cookie) < 24 or not samples or not rate:
        return Packets(_USUAL_SECONDS)
    return Packets(samples / rate, float(rate * cookie[5] * cookie[9]))


def _flac(stream_info: bytes) -> Packets:
    """FLAC: samples of the largest block at 2, rate at 10 (RFC 9639, 8.2)."""
    samples, rate = int.from_bytes(stream_info[2:4], "big"), int.from_bytes(stream_info[10:13], "big") >> 4
    return Packets(samples / rate if rate else _USUAL_SECONDS)


def _mp3_seconds(rate: int) -> float:
    return max(_SHORTEST_MP3, (1152 if rate >= 32_000 else 576) / rate if rate else 0.0)


def _mpeg4(entry: bytes) -> Packets:
    """The packets by `esds`: AAC by its configuration, MP3 and others by their object type."""
    found = entry.find(b"esds", _SOUND_ENTRY_BYTES)
    kind, configuration = _decoder_config(entry[found + 8 :]) if found >= 0 else (0, b"")
    if kind in _AAC_OBJECTS and (packets := _aac(configuration)):
        return packets
    return Packets(_mp3_seconds(int.from_bytes(entry[32:34], "big")) if kind in (0x69, 0x6B) else _USUAL_SECONDS)


def _decoder_config(descriptors: bytes) -> tuple[int, bytes]:
    """Object type and decoder-specific bytes of an ES descriptor (ISO/IEC 14496-1, 7.2.6)."""
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
    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data[:16].ljust(16, b"\0"), "big"), 128

    def take(self, count: int) -> int:
        self._left -= count
        return self._value >> max(0, self._left) & (1 << count) - 1


def _aac(configuration: bytes) -> Packets | None:
    """AAC by its AudioSpecificConfig; None for one of another kind of audio, or without a rate."""
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
    largest = _AAC_FRAME_BITS * count
    return Packets(samples / rate, largest * rate / samples, largest // 8, _SPEECH_BIT_RATE * count)


def _object_type(bits: _Bits) -> int:
    kind = bits.take(5)
    return kind if kind != 31 else 32 + bits.take(6)


def _rate(bits: _Bits) -> int:
    index = bits.take(4)
    if index == _LONG_RATE:
        return bits.take(24)
    return _AAC_RATES[index] if index < len(_AAC_RATES) else 0
