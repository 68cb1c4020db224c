"""PCM in, stretches of speech out. Owns PocketSphinx's voice activity detection; knows `decoding`'s rate alone.

A stretch is what is recognised in one go: short enough for the recogniser's memory, whole enough to be levelled.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pocketsphinx import Endpointer

from app.demo.decoding import BYTES_PER_SECOND, SAMPLE_RATE

LONGEST_SECONDS = 30.0
# Of 32767. The model hears the same speech differently at another level; of those tried, 8000 to 16000 did best.
PEAK = 12_000


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of speech; `start` in seconds from the beginning of the file."""

    start: float
    pcm: bytes


def utterances(chunks: Iterable[bytes]) -> Iterator[Utterance]:
    """Each stretch of speech, cut at pauses, or after LONGEST_SECONDS where there is none."""
    endpointer = Endpointer(sample_rate=SAMPLE_RATE)
    speech = bytearray()
    start = 0.0
    for frame, last in _frames(chunks, endpointer.frame_bytes):
        heard = endpointer.end_stream(frame) if last else endpointer.process(frame)
        if heard is None:
            continue
        if not speech:
            start = max(start, endpointer.speech_start)
        speech += heard
        if not endpointer.in_speech or len(speech) >= LONGEST_SECONDS * BYTES_PER_SECOND:
            yield Utterance(start, levelled(bytes(speech)))
            start += len(speech) / BYTES_PER_SECOND
            speech.clear()


def levelled(pcm: bytes) -> bytes:
    """The same sound, its loudest sample at PEAK."""
    samples = array("h", pcm)
    loudest = max(max(samples), -min(samples))
    if loudest == 0:
        return pcm
    return array("h", [sample * PEAK // loudest for sample in samples]).tobytes()


def _frames(chunks: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """Frames of `size` bytes, and whether it is the last one; only that may be shorter, and it is never empty."""
    pending = bytearray()
    for chunk in chunks:
        pending += chunk
        while len(pending) > size:
            yield bytes(pending[:size]), False
            del pending[:size]
    if pending:
        yield bytes(pending), True
