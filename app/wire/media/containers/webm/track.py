"""One track of a WebM file: the times of its blocks, and what a decoder plays of their packets.

The first bytes of a packet show how long it lasts for Opus and Vorbis, the two codecs of WebM (see `packets`). A packet
counts as 20 ms if it has another codec, is compressed, or shares a block with others (lacing).
"""

from dataclasses import dataclass
from typing import Final

from app.wire.media.containers.packets import OPUS_RATE, OPUS_SAMPLES, opus_samples, vorbis_samples

LACING: Final = 0x06  # in a block's flags
_SOUND: Final = 2
_LONGEST_STEP: Final = 1.0  # seconds; Opus packets last 120 ms, and arrive every 400 ms in silence
_NANOSECONDS: Final = 1_000_000_000
_PACKETS_PER_SECOND: Final = 50  # of other codecs
_UNKNOWN_CODEC: Final = (OPUS_RATE // _PACKETS_PER_SECOND,) * 256


@dataclass(slots=True)
class Track:
    """A `TrackEntry` and its blocks. Times are in units of the segment's `TimestampScale`.

    default_duration: nanoseconds. step: the time between the last two blocks. samples_by_byte: samples of a packet by
    its first byte; 0 if that is not enough to tell.
    """

    number: int = 0
    kind: int = 0
    default_duration: int = 0
    blocks: int = 0
    first: int = 0
    last: int = 0
    step: int = 0
    block_duration: int = 0
    samples_by_byte: tuple[int, ...] = _UNKNOWN_CODEC
    sample_rate: int = OPUS_RATE
    samples: int = 0
    is_opus: bool = False
    codec: bytes = b""
    private: bytes = b""
    is_encoded: bool = False  # compressed or encrypted

    @property
    def is_sound(self) -> bool:
        return self.kind == _SOUND

    @property
    def channels(self) -> int:
        """Channels by an OpusHead; 0 without one."""
        return self.private[9] if self.private.startswith(b"OpusHead") and len(self.private) > 9 else 0

    @property
    def needed(self) -> float:
        """Seconds by the packets."""
        return self.samples / self.sample_rate

    def seconds(self, scale: int) -> float:
        """Seconds by the times of the blocks, plus the duration of the last one."""
        unit = scale / _NANOSECONDS
        last = self.block_duration * unit or self.default_duration / _NANOSECONDS or self.step * unit
        return (self.last - self.first) * unit + min(last, _LONGEST_STEP)

    def describe(self, codec: bytes | None = None, private: bytes | None = None, is_encoded: bool = False) -> None:
        """Takes `CodecID`, `CodecPrivate` or `ContentEncodings`, in any order."""
        self.codec = self.codec if codec is None else codec
        self.private = self.private if private is None else private
        self.is_encoded = self.is_encoded or is_encoded
        identification = self.private[max(0, self.private.find(b"\x01vorbis")) :]
        rate = int.from_bytes(identification[12:16], "little")
        self.is_opus = self.codec == b"A_OPUS" and not self.is_encoded
        self.sample_rate, self.samples_by_byte = OPUS_RATE, OPUS_SAMPLES if self.is_opus else _UNKNOWN_CODEC
        if self.codec == b"A_VORBIS" and rate and not self.is_encoded:
            self.sample_rate, self.samples_by_byte = rate, vorbis_samples(identification)

    def add_block(self, time: int) -> None:
        if not self.blocks:
            self.first = self.last = time
        elif time > self.last:
            self.step, self.last = time - self.last, time
        self.blocks += 1
        self.block_duration = 0

    def add_packet(self, head: bytes) -> None:
        """Adds the samples of a block by its flags and the two bytes after them."""
        if len(head) < 2:
            return
        if head[0] & LACING:
            self.samples += (head[1] + 1) * self.sample_rate // _PACKETS_PER_SECOND
        else:
            self.samples += opus_samples(head[1:3]) if self.is_opus else self.samples_by_byte[head[1]]
