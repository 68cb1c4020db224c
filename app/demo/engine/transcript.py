"""A transcript: words with their times, and the segments that they form. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# A pause of PAUSE_SECONDS ends a segment. A segment of SEGMENT_SECONDS fits on a line of subtitles.
PAUSE_SECONDS = 0.5
SEGMENT_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Word:
    """One word, lower case; `start` and `end` in seconds from the beginning of the file."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Segment:
    """Words that are displayed together; never empty."""

    words: tuple[Word, ...]

    @property
    def start(self) -> float:
        return self.words[0].start

    @property
    def end(self) -> float:
        return self.words[-1].end

    @property
    def text(self) -> str:
        return joined(self.words)

    def accepts(self, word: Word) -> bool:
        return word.start - self.end < PAUSE_SECONDS and word.end - self.start <= SEGMENT_SECONDS


@dataclass(frozen=True, slots=True)
class Transcript:
    """All words of a file of `seconds`."""

    words: tuple[Word, ...]
    seconds: float

    @property
    def text(self) -> str:
        return joined(self.words)

    def segments(self) -> Iterator[Segment]:
        """The words in segments, in order."""
        current: Segment | None = None
        for word in self.words:
            if current is not None and current.accepts(word):
                current = Segment((*current.words, word))
                continue
            if current is not None:
                yield current
            current = Segment((word,))
        if current is not None:
            yield current


def joined(words: tuple[Word, ...]) -> str:
    return " ".join(word.text for word in words)
