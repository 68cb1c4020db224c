"""The containers that a transcription endpoint takes, and the figures that a reader of theirs needs.

A container is named by the extension of the file name that the gateway sends upstream, because OpenAI and the providers
that follow it choose their demuxer by that extension. `mpga` and `oga` are names of MP3 and Ogg, not containers of
their own.

The bit rates are bounds and guesses, not facts of a file:

- `lowest_bit_rate`: the lowest rate at which speech is still sent, so that bytes over it bound the length from above.
  Opus is asked for at 6 kbit/s and above (RFC 6716, 2.1.1), and its variable rate then goes down to some 5.6; frames
  of MPEG-2 have 8 kbit/s, G.723.1 in a WAV 5.3 kbit/s. FLAC has no floor, digital silence costs it next to nothing;
  1 kbit/s is 4,096 silent samples at 44.1 kHz.
- `highest_bit_rate`: the most that audio in this container takes, so that bytes over it bound the length from below. It
  holds as long as the reader does not know the codec's own bound: PCM in 8 channels of 32 bits at 192 kHz (WAV), of 24
  bits (FLAC, RFC 9639 streamable subset up to 192 kHz), stereo of 24 bits at 192 kHz (ALAC in M4A, FLAC in Ogg and
  WebM); 448 kbit/s of layer I (ISO/IEC 11172-3, 2.4.2.3; MPEG program streams carry 640 kbit/s of AC-3).
- `nominal_bit_rate`: what a file of this container usually has, for an estimate where nothing could be measured.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self


class Container(StrEnum):
    """A container by the extension under which it goes upstream.

    media_type: for the part's Content-Type.
    lowest_bit_rate: bits a second; bytes over it are an upper bound of the length.
    highest_bit_rate: bits a second; bytes of audio over it are a lower bound of the length.
    nominal_bit_rate: bits a second; bytes over it are an estimate of the length.
    """

    media_type: str
    lowest_bit_rate: int
    highest_bit_rate: int
    nominal_bit_rate: int

    def __new__(cls, extension: str, media_type: str, lowest: int, highest: int, nominal: int) -> Self:
        container = str.__new__(cls, extension)
        container._value_ = extension
        container.media_type = media_type
        container.lowest_bit_rate = lowest
        container.highest_bit_rate = highest
        container.nominal_bit_rate = nominal
        return container

    FLAC = "flac", "audio/flac", 1_000, 36_864_000, 400_000
    MP3 = "mp3", "audio/mpeg", 8_000, 448_000, 128_000
    MP4 = "mp4", "video/mp4", 5_000, 9_216_000, 128_000
    MPEG = "mpeg", "video/mpeg", 8_000, 640_000, 192_000
    M4A = "m4a", "audio/mp4", 5_000, 9_216_000, 128_000
    OGG = "ogg", "audio/ogg", 5_000, 9_216_000, 64_000
    WAV = "wav", "audio/wav", 5_000, 49_152_000, 256_000
    WEBM = "webm", "audio/webm", 5_000, 9_216_000, 64_000


@dataclass(frozen=True, slots=True)
class Headless:
    """What a file is that lacks its beginning, without which no decoder plays it: a part of a recording or a stream."""

    format: str


Recognised = Container | Headless | str
"""What a file is: a container, a part of one, or the name of another kind, empty where it has none."""

FORMATS: Final[tuple[str, ...]] = ("flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "oga", "ogg", "wav", "webm")
"""The extensions of what a caller may send, in the order in which the OpenAI API names them."""
