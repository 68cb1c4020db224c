"""What a container's reader finds out about the length of the audio, and the shape of such a reader."""

from typing import NamedTuple, Protocol

from app.wire.container.cursor import Cursor, Reading


class Evidence(NamedTuple):
    """What the bytes that have come so far tell.

    stated: seconds that a header claims; known early, but anyone can write a header.
    counted: seconds by the packets, frames or bytes of audio that were passed.
    share: how much was there of the bytes of audio that the headers announce.
    packets: packets of audio that were there, as far as they were counted.
    bit_rate: the rate of all the audio in bits a second, where the container fixes it.
    """

    stated: float | None = None
    counted: float | None = None
    share: float = 1.0
    packets: int = 0
    bit_rate: float | None = None


class Reader(Protocol):
    """Reads one container from its first byte (after any ID3 tag) to its last."""

    def read(self, cursor: Cursor) -> Reading[None]: ...

    def evidence(self) -> Evidence: ...
