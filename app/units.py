"""The units of usage: money, audio and tokens. All are integers, so that sums are exact.

NanoUSD     money, in billionths of a US dollar
AudioMs     a length of audio, in milliseconds
Tokens      token counts, as the upstream's `usage` states them
Usage       what one response stated, or one file measured
"""

from datetime import UTC, datetime
from decimal import ROUND_CEILING, Context, Decimal
from enum import StrEnum
from typing import NamedTuple, NewType

NanoUSD = NewType("NanoUSD", int)
AudioMs = NewType("AudioMs", int)

NANO_PER_USD = 1_000_000_000


class UsageSource(StrEnum):
    """The source of a row's usage, best first."""

    UPSTREAM = "upstream"
    MEASURED = "measured"
    ESTIMATED = "estimated"


class Tokens(NamedTuple):
    """Token counts of one response. `audio` and `text` are parts of `input`, if the upstream splits it."""

    input: int
    output: int
    total: int
    audio: int | None = None
    text: int | None = None


class Usage(NamedTuple):
    """The usage of one request: a length of audio, tokens, or both; at least one of them."""

    audio: AudioMs | None = None
    tokens: Tokens | None = None

    def document(self) -> dict[str, int | float | None]:
        """Returns the JSON object for logs and exports."""
        if self.tokens is None:
            return {"seconds": None if self.audio is None else seconds_of(self.audio)}
        return {f"{name}_tokens": count for name, count in self.tokens._asdict().items() if count is not None}


def to_nano(usd: Decimal) -> NanoUSD:
    """Returns the nano-dollars for a number of dollars; a smaller fraction is rounded up."""
    nano = Context(rounding=ROUND_CEILING).multiply(usd, Decimal(NANO_PER_USD))
    return NanoUSD(int(nano.to_integral_value(rounding=ROUND_CEILING)))


def usd_text(nano: int) -> str:
    """Returns the exact dollars as a decimal string without an exponent or trailing zeros: `0.000485`."""
    whole, rest = divmod(abs(nano), NANO_PER_USD)
    text = f"{whole}.{rest:09d}".rstrip("0").rstrip(".")
    return f"-{text}" if nano < 0 else text


def to_ms(seconds: float) -> AudioMs:
    """Returns the milliseconds of a length in seconds, rounded to the nearest."""
    return AudioMs(round(seconds * 1000))


def seconds_of(audio: int) -> float:
    """Returns the seconds of a length in milliseconds."""
    return audio / 1000


def iso_time(at_ms: int) -> str:
    """Returns ISO 8601 in UTC for milliseconds since the epoch: `2026-11-28T09:30:00.000Z`."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec='milliseconds')[:-6]}Z"


def optional_iso_time(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso_time(at_ms)
