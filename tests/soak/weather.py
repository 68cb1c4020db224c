"""An unreliable provider: most responses are good, the others late, broken, early, odd or absent."""

import random
from collections.abc import Callable

from tests.stubs.connection import Script
from tests.stubs.exchange import Exchange
from tests.stubs.reply import Reply
from tests.stubs.upstream import (
    TOKENS,
    ScriptedUpstream,
    error_answer,
    json_answer,
    no_answer,
    sse_answer,
    text_answer,
    verbose_answer,
)

Mood = Callable[[random.Random], Script]


def _fitting(exchange: Exchange) -> Reply:
    """Returns a good response in the requested format."""
    fields = {part.name: part.data for part in exchange.form() if part.filename is None}
    if fields.get("stream") == b"true":
        return sse_answer(["one ", "two ", "three"], TOKENS, end_mark=True)
    if fields.get("response_format") in (b"text", b"srt", b"vtt"):
        return text_answer("one two three")
    if fields.get("response_format") == b"verbose_json":
        return verbose_answer("one two three", duration=0.5)
    return json_answer("one two three", TOKENS)


_GOOD = json_answer("one two three", TOKENS)
_STREAM = sse_answer(["one ", "two ", "three"], TOKENS)
_BUSY = error_answer(429, "rate_limit_exceeded", "slow down", headers=[("Retry-After", "1")])
_TOO_LARGE = error_answer(413, None, "too large")

# (weight, mood)
MOODS: list[tuple[int, Mood]] = [
    (60, lambda chance: _fitting),
    (6, lambda chance: _GOOD.but(body=[(chance.uniform(0, 0.5), b'{"text": "'), (0.1, b'late"}')])),
    (4, lambda chance: error_answer(chance.choice((400, 403, 404, 500, 502, 503, 504)), "some_code", "no")),
    (2, lambda chance: _BUSY),
    (1, lambda chance: error_answer(401, "invalid_api_key", "not this key")),
    (1, lambda chance: Reply(302, [("Location", "http://127.0.0.2/")])),
    (3, lambda chance: no_answer(chance.choice(("reset", "close")))),
    (4, lambda chance: _GOOD.but(cut_after=chance.randrange(1, 200), cut=chance.choice(("reset", "close")))),
    (4, lambda chance: _STREAM.but(cut_after=chance.randrange(1, 500), cut=chance.choice(("reset", "close")))),
    (3, lambda chance: Reply(200, [("Content-Type", "text/html")], b"<html>odd</html>")),
    (2, lambda chance: Reply(200, [("Content-Type", "application/json")], b'{"text": "cut')),
    (1, lambda chance: Reply(framing="raw", raw=chance.randbytes(200) + b"\r\n\r\n")),
    (2, lambda chance: Reply(hang=True)),
    *(
        (2, lambda chance, then=then: _TOO_LARGE.but(when="after_head", then=then))
        for then in ("read_on", "close", "hold")
    ),
]


class MoodyProvider(ScriptedUpstream):
    """Responds to each request in a random mood. A seed determines the sequence of moods."""

    def __init__(self, seed: int) -> None:
        super().__init__(keep_bodies=True)
        self._chance = random.Random(seed)
        self.mood: Script | None = None

    def next_script(self) -> Script:
        """Returns the mood that is set, or a random one."""
        if self.mood is not None:
            return self.mood
        (mood,) = self._chance.choices([mood for _, mood in MOODS], [weight for weight, _ in MOODS])
        return mood(self._chance)
