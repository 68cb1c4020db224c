"""Which words of a growing hypothesis can be given out for good. Pure; knows `transcript` alone.

A recogniser changes its mind about what it has just heard, and hardly ever about what it heard a second ago. A word is
settled once it ended LAG_SECONDS before the present and stood in the last HELD hypotheses, as did all words before it.
Where the recogniser does change its mind about a settled word, that word stays, and the new hypothesis counts from its
end on.
"""

from __future__ import annotations

from collections import deque
from itertools import takewhile

from app.demo.transcript import Word

LAG_SECONDS = 0.8
HELD = 3


class Stabilizer:
    """Feed each hypothesis of one utterance, get each word once, in order; `finish` settles all that is left."""

    def __init__(self) -> None:
        self._until = 0.0
        self._recent: deque[tuple[Word, ...]] = deque(maxlen=HELD)

    def feed(self, now: float, hypothesis: tuple[Word, ...]) -> tuple[Word, ...]:
        """The words that this hypothesis, whole and reaching up to the second `now`, has settled."""
        self._recent.append(hypothesis)
        if len(self._recent) < HELD:
            return ()
        rows = zip(*(self._unsettled(recent) for recent in self._recent), strict=False)
        agreed = takewhile(lambda row: len({word.text for word in row}) == 1, rows)
        return self._settle(tuple(row[-1] for row in takewhile(lambda row: row[-1].end + LAG_SECONDS <= now, agreed)))

    def finish(self, hypothesis: tuple[Word, ...]) -> tuple[Word, ...]:
        return self._settle(self._unsettled(hypothesis))

    def _settle(self, words: tuple[Word, ...]) -> tuple[Word, ...]:
        if words:
            self._until = words[-1].end
        return words

    def _unsettled(self, hypothesis: tuple[Word, ...]) -> tuple[Word, ...]:
        # By the middle, since the edges of a settled word still move by a frame or two.
        return tuple(word for word in hypothesis if (word.start + word.end) / 2 > self._until)
