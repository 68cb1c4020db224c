"""Builds media files from their elements, and recognises and measures them."""

import itertools
import random
from collections.abc import Sequence

from app.wire.media import HEAD_BYTES, AudioLength, AudioMeter, Container, Sniffer, Unrecognised


def verdict(data: bytes, cuts: Sequence[int] = ()) -> Container | Unrecognised | None:
    """The sniffer's verdict on a file, fed in chunks that end at `cuts`."""
    sniffer = Sniffer()
    for piece in split(data, cuts):
        sniffer.feed(piece)
    sniffer.finish()
    return sniffer.verdict


def measure(data: bytes, container: Container | None = None, cuts: Sequence[int] = ()) -> AudioLength:
    """The length of a file; without a container, the file must be recognised."""
    found = container or verdict(data)
    assert isinstance(found, Container)
    meter = AudioMeter(found)
    for piece in split(data, cuts):
        meter.feed(piece)
    return meter.finish()


def bound(data: bytes, container: Container, size: int | None = None) -> float:
    """The bound of a file of `size` bytes (its own by default), by its head."""
    meter = AudioMeter(container)
    meter.feed(data[:HEAD_BYTES])
    return meter.bound(len(data) if size is None else size)


def split(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The chunks of a file that is split at these offsets."""
    edges = [0, *sorted(cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def is_close(length: AudioLength, seconds: float) -> bool:
    """Whether a length is measured, and within 1 % or 0.1 s, whichever is larger."""
    return length.measured and abs(length.seconds - seconds) <= max(0.01 * seconds, 0.1)


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def id3(payload: bytes, *, footer: bool = False) -> bytes:
    """An ID3v2.4 tag with any content."""
    size = bytes(len(payload) >> shift & 0x7F for shift in (21, 14, 7, 0))
    tail = b"3DI\x04\x00\x10" + size if footer else b""
    return b"ID3\x04\x00" + (b"\x10" if footer else b"\x00") + size + payload + tail


def chunk(name: bytes, payload: bytes, size: int | None = None) -> bytes:
    """A RIFF chunk with its padding; `size` replaces its true size."""
    stated = len(payload) if size is None else size
    return name + stated.to_bytes(4, "little") + payload + bytes(len(payload) % 2)


def box(name: bytes, *payload: bytes, long: bool = False, to_the_end: bool = False) -> bytes:
    """An ISO media box with a size of 32 bits, of 64 bits, or of 0."""
    body = b"".join(payload)
    if long:
        return b"\0\0\0\1" + name + (len(body) + 16).to_bytes(8, "big") + body
    return (0 if to_the_end else len(body) + 8).to_bytes(4, "big") + name + body


def boxes(data: bytes) -> dict[bytes, bytes]:
    """The top-level boxes by name; of several with one name, the last."""
    found, at = {}, 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found[data[at + 4 : at + 8]] = data[at : at + size]
        at += size
    return found


def page(packets: Sequence[bytes], granule: int, *, serial: int = 1, begins: bool = False, number: int = 0) -> bytes:
    """An Ogg page of complete packets, with its checksum."""
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    head = b"OggS\0" + (b"\x02" if begins else b"\0") + (granule & (1 << 64) - 1).to_bytes(8, "little")
    numbers = serial.to_bytes(4, "little") + number.to_bytes(4, "little") + bytes(4)
    whole = head + numbers + bytes([len(lacing)]) + lacing + b"".join(packets)
    return whole[:22] + _ogg_checksum(whole).to_bytes(4, "little") + whole[26:]


def _ogg_checksum(whole: bytes) -> int:
    """The CRC-32 of RFC 3533."""
    crc = 0
    for byte in whole:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _OGG_CRC[crc >> 24 ^ byte]
    return crc


def _ogg_crc_entry(value: int) -> int:
    crc = value << 24
    for _ in range(8):
        crc = (crc << 1 ^ (0x04C11DB7 if crc & 1 << 31 else 0)) & 0xFFFFFFFF
    return crc


_OGG_CRC = tuple(_ogg_crc_entry(value) for value in range(256))


def pages(data: bytes) -> list[bytes]:
    """The pages of a well-formed Ogg file."""
    found, at = [], 0
    while at < len(data):
        segments = data[at + 26]
        end = at + 27 + segments + sum(data[at + 27 : at + 27 + segments])
        found.append(data[at:end])
        at = end
    return found


def element(name: int, payload: bytes, *, unknown: bool = False) -> bytes:
    """An EBML element with a size of eight bytes, or with the unknown size."""
    head = name.to_bytes((name.bit_length() + 7) // 8, "big")
    return head + (b"\xff" if unknown else (1 << 56 | len(payload)).to_bytes(8, "big")) + payload
