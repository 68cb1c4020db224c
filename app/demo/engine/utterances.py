"""Splits PCM into stretches of speech with PocketSphinx's voice activity detection.

The recogniser takes one stretch at a time: short enough for its memory, long enough to normalise its level.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pocketsphinx import Endpointer

from app.demo.engine.decoding import BYTES_PER_SECOND, SAMPLE_RATE

MAX_SECONDS = 30.0
# Of 32767. The level changes what the model recognises; of the levels tried, 8000 to 16000 gave the best results.
PEAK = 12_000


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of speech; `start` in seconds from the beginning of the file."""

    start: float
    pcm: bytes


def utterances(chunks: Iterable[bytes]) -> Iterator[Utterance]:
    """Each stretch of speech, split at pauses, or after MAX_SECONDS without one."""
    endpointer = Endpointer(sample_rate=SAMPLE_RATE)
    speech = bytearray()
    start = 0.0
    for frame, last in _frames(chunks, endpointer.frame_bytes):
        speech_part = endpointer.end_stream(frame) if last else endpointer.process(frame)
        if speech_part is None:
            continue
        if not speech:
            start = max(start, endpointer.speech_start)
        speech += speech_part
        if not endpointer.in_speech or len(speech) >= MAX_SECONDS * BYTES_PER_SECOND:
            yield Utterance(start, normalise(bytes(speech)))
            start += len(speech) / BYTES_PER_SECOND
            speech.clear()


def normalise(pcm: bytes) -> bytes:
    """The same audio with its loudest sample at PEAK."""
    samples = array("h", pcm)
    loudest = max(max(samples), -min(samples))
    if loudest == 0:
        return pcm
    return array("h", [sample * PEAK // loudest for sample in samples]).tobytes()


def _frames(chunks: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """Frames of `size` bytes, each with whether it is the last. The last may be shorter and is never empty."""
    pending = bytearray()
    for chunk in chunks:
        pending += chunk
        while len(pending) > size:
            yield bytes(pending[:size]), False
            del pending[:size]
    if pending:
        yield bytes(pending), True
