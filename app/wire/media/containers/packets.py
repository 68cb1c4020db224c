"""How many samples a decoder takes from a packet, by the packet's first bytes. No claim of a container changes that.

Opus (RFC 6716, 3.1): the first byte (TOC) has the configuration in 5 bits, which fixes the length of a frame, and the
number of frames in 2 bits: one, two, two, or the number in the lower 6 bits of the second byte.

Vorbis (Vorbis I specification, 4.3.1 and 4.3.8): the first bit is 0 for audio; the mode number follows. Two packets
overlap, so a packet adds half of its block. Mode 0 has the short block and mode 1 the long one, as every known encoder
writes it; the modes of others would require parsing their whole setup header.
"""

from functools import cache
from operator import mul
from typing import Final

OPUS_RATE: Final = 48_000
_CODE_3: Final = 3


def _opus_frame(configuration: int) -> int:
    """Samples of a frame: 10 to 60 ms of SILK, 10 or 20 ms of hybrid, 2.5 to 20 ms of CELT."""
    if configuration < 12:
        return (480, 960, 1_920, 2_880)[configuration & 3]
    return (480, 960)[configuration & 1] if configuration < 16 else 120 << (configuration & 3)


OPUS_FRAMES: Final = tuple(_opus_frame(toc >> 3) for toc in range(256))
"""Samples at 48 kHz of a frame, by the TOC of its packet."""

OPUS_SAMPLES: Final = tuple((1, 2, 2, 0)[toc & 3] * OPUS_FRAMES[toc] for toc in range(256))
"""Samples at 48 kHz of a packet, by its TOC; 0 for code 3, where the second byte has the number of frames."""


_CODE_3_FRAMES: Final = tuple(OPUS_FRAMES[toc] if toc & 3 == _CODE_3 else 0 for toc in range(256))
_OTHER_CODES: Final = bytes(toc for toc in range(256) if toc & 3 != _CODE_3)
_LOWER_SIX: Final = bytes(count & 0x3F for count in range(256))


def opus_samples(head: bytes) -> int:
    """Samples at 48 kHz of the Opus packet that begins with these two bytes."""
    if not head or head[0] & 3 != _CODE_3:
        return OPUS_SAMPLES[head[0]] if head else 0
    return OPUS_FRAMES[head[0]] * (head[1] & 0x3F) if len(head) > 1 else 0


def sum_opus_samples(body: bytes, starts: list[int]) -> int:
    """The sum of `opus_samples` over the packets that begin at these offsets."""
    tocs = bytes(map(body.__getitem__, starts))
    total = sum(map(OPUS_SAMPLES.__getitem__, tocs))
    if not tocs.translate(None, _OTHER_CODES):
        return total
    counts = bytes(map((body[1:] + b"\0").__getitem__, starts)).translate(_LOWER_SIX)
    code_3: int = sum(map(mul, map(_CODE_3_FRAMES.__getitem__, tocs), counts))
    return total + code_3


def vorbis_samples(identification: bytes) -> tuple[int, ...]:
    """Samples of a packet by its first byte, for a stream with this identification header; 0 for header packets."""
    return _vorbis_samples(identification[28] if len(identification) > 28 else 0)


@cache
def _vorbis_samples(sizes: int) -> tuple[int, ...]:
    blocks = 1 << (sizes & 0x0F), 1 << (sizes >> 4)
    return tuple(0 if first & 1 else blocks[first >> 1 & 1] // 2 for first in range(256))
