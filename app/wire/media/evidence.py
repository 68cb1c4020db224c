"""What a container's reader finds out about the length of the audio, and the shape of such a reader."""

from typing import NamedTuple, Protocol

from app.wire.media.cursor import Cursor, Reading


class Evidence(NamedTuple):
    """What the bytes so far show. Claims first, then what bounds them.

    stated: seconds that a header claims; known early, but anyone can write a header.
    counted: seconds by time stamps, frames or bytes of audio. A time stamp is a claim too.
    needed: seconds that a decoder plays from the packets, whatever the claims; None where packets do not show it.
    audio_bytes: bytes of audio that are there; None where the reader does not know them.
    highest_bit_rate: the most bits a second that the codec can take as its own configuration says, where it is known.
    share: how much is there of the bytes of audio that the headers announce.
    packets: packets of audio that are there, as far as they are counted.
    bit_rate: the rate of all the audio in bits a second, where the container fixes it.
    exact: False where the headers contradict each other, so that any length is an estimate.
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
