"""One logical stream of an Ogg file: its length by granule positions, and by what a decoder plays of its packets."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.wire.media.containers.flac import frame_header
from app.wire.media.containers.ogg.page import CONTINUED
from app.wire.media.containers.packets import OPUS_RATE, OPUS_SAMPLES, opus_samples, sum_opus_samples, vorbis_samples
from app.wire.media.formats import Container

_NO_PACKET_ENDS: Final = 0xFFFFFFFFFFFFFFFF  # the granule position of a page on which no packet ends
_HEADER_PACKETS: Final = 2  # of Opus and Speex, whose headers look like audio
_SPEEX_FRAMES_PER_SECOND: Final = 50
_MAX_SPEEX_FRAMES: Final = 10  # in a packet
_FLAC_HEADER_BYTES: Final = 16
_NOT_SOUND: Final = re.compile(
    rb"\x80(theora|daala|kate)|fishead|\x01video|\x01text|BBCD|OVP80|CMML|Annodex|\x8bJNG|PNG"
)


@dataclass(slots=True)
class LogicalStream:
    """A stream's granule positions, and the samples of its packets.

    sample_rate: 0 for a codec that is not known. samples_by_byte: samples of a packet by its first byte. parse_packet:
    samples by the first `head_bytes` bytes, where that table has 0. header_packets: packets to come that are not audio.
    samples: of all packets so far, or bytes where the sample rate is 0.
    """

    sample_rate: int
    pre_skip: int = 0
    header_packets: int = 0
    samples_by_byte: tuple[int, ...] = (0,) * 256
    parse_packet: Callable[[bytes, int], float] | None = None
    head_bytes: int = 1
    samples: float = 0.0
    first: int = 0
    first_packets: int = 0
    before_last: int = 0
    packets_before_last: int = 0
    last: int = 0
    packets: int = 0

    def add_page(self, granule: int, packets: int) -> None:
        """Follows the granule position of a page on which `packets` packets end."""
        if granule == 0 or granule == _NO_PACKET_ENDS:
            return
        self.before_last, self.packets_before_last = self.last, self.packets
        self.last = granule
        self.packets += packets
        if not self.first:
            self.first, self.first_packets = granule, packets

    @property
    def seconds(self) -> float:
        """Seconds by the granule positions."""
        return max(0, self.last - self._start() - self.pre_skip) / self.sample_rate if self.sample_rate else 0.0

    @property
    def needed(self) -> float:
        """Seconds by the packets; for an unknown codec, by the bytes at the nominal bit rate."""
        return self.samples / (self.sample_rate or Container.OGG.nominal_bit_rate // 8)

    def samples_of_page(self, body: bytes, starts: list[int]) -> float | None:
        """Samples of a page's packets if their first bytes are enough to tell; None if not, or if they are headers."""
        if not self.sample_rate:
            return len(body)
        if self.header_packets or self.parse_packet is _flac_samples:
            return None
        if self.parse_packet:
            return sum_opus_samples(body, starts)
        return sum(map(self.samples_by_byte.__getitem__, map(body.__getitem__, starts)))

    def samples_of_only_packet(self, head: bytes, flags: int) -> float:
        """Samples of the only packet of a page by its first two bytes; 0 if these are not enough to tell."""
        if self.header_packets or flags & CONTINUED:
            return 0
        return self.samples_by_byte[head[0]] or (opus_samples(head) if self.parse_packet is _opus_samples else 0)

    def samples_of_packet(self, head: bytes) -> float:
        """Samples of the packet that begins with these bytes."""
        samples = self.samples_by_byte[head[0]] if head else 0
        return self.parse_packet(head, self.sample_rate) if self.parse_packet and not samples else samples

    def _start(self) -> int:
        """The granule position where the first page began, by the mean length of a packet.

        A difference of less than a page is the inaccuracy of the mean, not a late start.
        """
        packets = self.packets_before_last - self.first_packets
        span = self.before_last - self.first
        if packets <= 0:
            packets, span = self.packets - self.first_packets, self.last - self.first
        if packets <= 0 or span <= 0:
            return 0
        page = self.first_packets * span // packets
        return self.first - page if self.first > 2 * page else 0


def identify(packet: bytes) -> LogicalStream | None:
    """The stream that this first packet opens; None unless it is audio of a known codec."""
    if packet.startswith(b"OpusHead"):
        pre_skip = int.from_bytes(packet[10:12], "little")
        return LogicalStream(OPUS_RATE, pre_skip, _HEADER_PACKETS, OPUS_SAMPLES, _opus_samples, 2)
    if packet.startswith(b"\x01vorbis"):
        sample_rate = int.from_bytes(packet[12:16], "little")
        return LogicalStream(sample_rate, samples_by_byte=vorbis_samples(packet)) if sample_rate else None
    if packet.startswith(b"Speex   "):
        return _speex(packet)
    at = 9 if packet.startswith(b"\x7fFLAC") else 0  # the mapping before 1.0 begins with `fLaC`
    sample_rate = int.from_bytes(packet[at + 18 : at + 21], "big") >> 4 if packet[at : at + 4] == b"fLaC" else 0
    return (
        LogicalStream(sample_rate, parse_packet=_flac_samples, head_bytes=_FLAC_HEADER_BYTES) if sample_rate else None
    )


def open_stream(packet: bytes) -> LogicalStream | None:
    """As `identify`, but an unknown codec counts as sound with a sample rate of 0; None for pictures and text."""
    return identify(packet) or (None if _NOT_SOUND.match(packet) else LogicalStream(0))


def _speex(packet: bytes) -> LogicalStream | None:
    sample_rate, frames, extra_headers = (int.from_bytes(packet[at : at + 4], "little") for at in (36, 64, 68))
    samples = sample_rate * min(max(1, frames), _MAX_SPEEX_FRAMES) // _SPEEX_FRAMES_PER_SECOND
    headers = _HEADER_PACKETS + min(extra_headers, _HEADER_PACKETS)
    stream = LogicalStream(sample_rate, header_packets=headers, samples_by_byte=(samples,) * 256)
    return stream if sample_rate else None


def _opus_samples(packet: bytes, _: int) -> float:
    return opus_samples(packet)


def _flac_samples(packet: bytes, sample_rate: int) -> float:
    frame = frame_header(packet)
    return frame.samples * sample_rate / (frame.sample_rate or sample_rate) if frame else 0.0
