"""What a container's reader finds about the length of the audio, and the protocol of such a reader."""

from typing import NamedTuple, Protocol

from app.wire.media.cursor import Cursor, Reading


class Evidence(NamedTuple):
    """What the bytes so far show: claims first, then what limits them.

    stated: seconds that a header claims; known early, but anyone can write a header.
    counted: seconds by time stamps, frames or bytes of audio. A time stamp is a claim too.
    needed: seconds that a decoder plays from the packets, whatever the claims; None if packets do not show it.
    audio_bytes: bytes of audio that are present; None if the reader does not count them.
    highest_bit_rate: the codec's highest bit rate by its own configuration, in bits a second; None if unknown.
    share: the present share of the audio bytes that the headers announce, from 0 to 1.
    packets: packets of audio that are present, if the reader counts them.
    bit_rate: the bit rate of all audio in bits a second, if the container fixes it.
    exact: False if the headers contradict each other, so that any length is an estimate.
    """

    stated: float | None = None
    counted: float | None = None
    needed: float | None = None
    audio_bytes: int | None = None
    highest_bit_rate: float | None = None
    share: float = 1.0
    packets: int = 0
    bit_rate: float | None = None
    exact: bool = True


class Reader(Protocol):
    """Reads one container from its first byte (after any ID3 tag) to its last."""

    def read(self, cursor: Cursor) -> Reading[None]: ...

    def evidence(self) -> Evidence: ...
