"""Prices: what a request costs, and the most that it may cost. Pure integer arithmetic.

    the response states tokens, and the model has token prices    tokens at their prices
    otherwise                                                     audio at `per_minute`
    no `per_minute` either                                        audio at `max_tokens_per_minute` of the dearest token

The bound of a hold is the higher of the last two. A fraction of a nano-dollar is rounded up.
"""

from dataclasses import dataclass

from app.units import AudioMs, NanoUSD, Tokens

MILLION = 1_000_000
MS_PER_MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class Price:
    """A model's price: nano-dollars per million tokens, and per minute of audio. `FREE` is the only price of 0."""

    input: NanoUSD | None = None
    audio_input: NanoUSD | None = None
    output: NanoUSD | None = None
    per_minute: NanoUSD | None = None
    max_tokens_per_minute: int = 2_000

    @property
    def by_tokens(self) -> bool:
        return self.input is not None

    def of_tokens(self, tokens: Tokens) -> NanoUSD:
        """Returns the nano-dollars for a model's token counts."""
        audio = min(tokens.audio or 0, tokens.input)
        audio_price = self.audio_input if self.audio_input is not None else self.input
        total = (
            audio * (audio_price or 0) + (tokens.input - audio) * (self.input or 0) + tokens.output * (self.output or 0)
        )
        return _rounded_up(total, MILLION)

    def of_audio(self, audio: AudioMs) -> NanoUSD:
        """Returns the nano-dollars for audio whose response states no tokens."""
        if self.per_minute is not None:
            return _rounded_up(audio * self.per_minute, MS_PER_MINUTE)
        return self._of_most_tokens(audio)

    def most_tokens(self, audio: AudioMs) -> int:
        """Returns the tokens that a token budget counts for audio whose response states none."""
        return -(-audio * self.max_tokens_per_minute // MS_PER_MINUTE)

    def bound(self, audio: AudioMs) -> NanoUSD:
        """Returns the most that a file of this length may cost, in nano-dollars."""
        by_tokens = self._of_most_tokens(audio)
        return by_tokens if self.per_minute is None else max(by_tokens, self.of_audio(audio))

    def cost(self, audio: AudioMs, tokens: Tokens | None) -> NanoUSD:
        """Returns the nano-dollars of one settled request."""
        return self.of_tokens(tokens) if tokens is not None and self.by_tokens else self.of_audio(audio)

    def _of_most_tokens(self, audio: AudioMs) -> NanoUSD:
        dearest = max(self.input or 0, self.audio_input or 0, self.output or 0)
        return _rounded_up(audio * self.max_tokens_per_minute * dearest, MS_PER_MINUTE * MILLION)


FREE = Price(per_minute=NanoUSD(0))


def _rounded_up(numerator: int, denominator: int) -> NanoUSD:
    return NanoUSD(-(-numerator // denominator))
