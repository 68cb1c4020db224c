"""Decides which words of a growing hypothesis are final. Pure.

A recogniser often changes its latest words and hardly ever those of a second ago. A word is final once it ended
LAG_SECONDS ago and the last AGREEING hypotheses contain it and all words before it. If the recogniser later
changes a final word, that word stays, and the new hypothesis counts from the end of that word.
"""

from __future__ import annotations

from collections import deque
from itertools import takewhile

from app.demo.engine.transcript import Word

LAG_SECONDS = 0.8
AGREEING = 3


class Stabilizer:
    """Takes each hypothesis of one utterance and returns each final word once, in order."""

    def __init__(self) -> None:
        self._final_until = 0.0
        self._recent: deque[tuple[Word, ...]] = deque(maxlen=AGREEING)

    def feed(self, now: float, hypothesis: tuple[Word, ...]) -> tuple[Word, ...]:
        """The words that become final with this hypothesis, which covers the utterance up to the second `now`."""
        self._recent.append(hypothesis)
        if len(self._recent) < AGREEING:
            return ()
        rows = zip(*(self._pending(recent) for recent in self._recent), strict=False)
        agreed = takewhile(lambda row: len({word.text for word in row}) == 1, rows)
        return self._finalize(tuple(row[-1] for row in takewhile(lambda row: row[-1].end + LAG_SECONDS <= now, agreed)))

    def finish(self, hypothesis: tuple[Word, ...]) -> tuple[Word, ...]:
        """The remaining words, with the last hypothesis."""
        return self._finalize(self._pending(hypothesis))

    def _finalize(self, words: tuple[Word, ...]) -> tuple[Word, ...]:
        if words:
            self._final_until = words[-1].end
        return words

    def _pending(self, hypothesis: tuple[Word, ...]) -> tuple[Word, ...]:
        # Compares the middle of a word: the edges of a final word still move by a frame or two.
        return tuple(word for word in hypothesis if (word.start + word.end) / 2 > self._final_until)
