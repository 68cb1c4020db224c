"""The containers that transcription endpoints accept, and their bit rates.

A container is named by the extension of the file name that the gateway sends upstream, because OpenAI and compatible
providers choose their demuxer by it. `mpga` and `oga` are other names of MP3 and Ogg.

The bit rates are limits and guesses, not facts about a file:

- `lowest_bit_rate`: the lowest rate at which speech is sent, so bytes at this rate are the longest audio. Opus starts
  at 6 kbit/s (RFC 6716, 2.1.1), and its variable rate then goes down to about 5.6; frames of MPEG-2 have 8 kbit/s,
  G.723.1 in a WAV 5.3 kbit/s. FLAC has no minimum, as digital silence costs it next to nothing; 1 kbit/s is 4,096
  silent samples at 44.1 kHz.
- `highest_bit_rate`: the highest rate of audio in this container, so bytes at this rate are the shortest audio. It
  applies unless the reader knows the codec's own limit: PCM in 8 channels of 32 bits at 192 kHz (WAV), of 24 bits
  (FLAC, RFC 9639 streamable subset up to 192 kHz), stereo of 24 bits at 192 kHz (ALAC in M4A, FLAC in Ogg and WebM);
  448 kbit/s of layer I (ISO/IEC 11172-3, 2.4.2.3; MPEG program streams carry 640 kbit/s of AC-3).
- `nominal_bit_rate`: the usual rate in this container, for an estimate if nothing could be measured.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self


class Container(StrEnum):
    """A container, by the extension of the file name that is sent upstream.

    media_type: the Content-Type of the part.
    lowest_bit_rate: in bits a second, for an upper bound of the length.
    highest_bit_rate: in bits a second, for a lower bound of the length.
    nominal_bit_rate: in bits a second, for an estimate of the length.
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
class HeaderMissing:
    """A part of a recording or stream in this format, without the header that decoders need."""

    format: str


Recognised = Container | HeaderMissing | str
"""What a file is: an accepted container, a part of one, or the name of another format (empty if unknown)."""

FORMATS: Final[tuple[str, ...]] = ("flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "oga", "ogg", "wav", "webm")
"""The file extensions that callers may send, in the order of the OpenAI API."""
