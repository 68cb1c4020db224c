"""Recognises words in a stretch of speech with PocketSphinx.

These settings gave the exact words of the bundled sample in the most encodings of it. One pass (no flat second pass, no
search of the lattice) is faster, and its final words seldom differ from the earlier ones.
"""

from __future__ import annotations

import re
from collections.abc import Generator

from pocketsphinx import Decoder

from app.demo.engine.decoding import BYTES_PER_SECOND
from app.demo.engine.transcript import Word
from app.demo.engine.utterances import Utterance

LANGUAGE_WEIGHT = 8.0
# Active states per frame: a fifth less work than with the default of 30000; 3000 begins to lose words.
MAX_STATES = 5000
FRAMES_PER_SECOND = 100
STEP_BYTES = BYTES_PER_SECOND // 5

# A search that costs nothing, active while only the features of the audio are computed.
_FEATURES = "features"
_TINY_GRAMMAR = "#JSGF V1.0; grammar features; public <features> = a;"

_FILLER = re.compile(r"^(<.*>|\[.*\]|\+\+.*\+\+)$")
_VARIANT = re.compile(r"\(\d+\)$")


class Recogniser:
    """A PocketSphinx decoder, for one thread at a time. Creating it takes half a second and about 100 MB."""

    def __init__(self) -> None:
        self._decoder = Decoder(
            lw=LANGUAGE_WEIGHT, maxhmmpf=MAX_STATES, fwdflat=False, bestpath=False, loglevel="FATAL"
        )
        self._speech = self._decoder.current_search()
        self._decoder.add_jsgf_string(_FEATURES, _TINY_GRAMMAR)

    def hypotheses(self, utterance: Utterance) -> Generator[tuple[float, tuple[Word, ...]], None, None]:
        """Yields, for each fifth of a second of audio, the position in seconds and all words recognised up to there.

        A later hypothesis may contradict an earlier one. The last one is final.
        """
        pcm, length = utterance.pcm, len(utterance.pcm)
        self._tune(pcm)
        self._decoder.start_utt()
        try:
            for begin in range(0, length, STEP_BYTES):
                end = min(begin + STEP_BYTES, length)
                self._decoder.process_raw(pcm[begin:end])
                yield utterance.start + end / BYTES_PER_SECOND, self._words(utterance.start)
        finally:
            self._decoder.end_utt()
        yield utterance.start + length / BYTES_PER_SECOND, self._words(utterance.start)

    def _tune(self, pcm: bytes) -> None:
        """Sets the mean of the audio's features, which the decoder would otherwise learn only as it decodes."""
        self._decoder.activate_search(_FEATURES)
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, no_search=True, full_utt=True)
        self._decoder.end_utt()
        self._decoder.set_cmn(self._decoder.get_cmn(False))
        self._decoder.activate_search(self._speech)

    def _words(self, offset: float) -> tuple[Word, ...]:
        return tuple(
            Word(
                _VARIANT.sub("", segment.word),
                round(offset + segment.start_frame / FRAMES_PER_SECOND, 2),
                round(offset + (segment.end_frame + 1) / FRAMES_PER_SECOND, 2),
            )
            for segment in self._decoder.seg() or ()
            if not _FILLER.match(segment.word)
        )
