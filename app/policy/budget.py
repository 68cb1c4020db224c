"""Budgets: how much a caller may spend. A limit on money, audio or tokens, by UTC day, week, month or in total.

    admit       settled + held + bound <= limit, or nothing is held and settled < limit
    spent       settled >= limit
    reserved    only the holds of requests in flight prevent it

The same rule decides whether a hold may be raised, without what the request holds already. A hold may always be
lowered. The second way to be admitted lets a budget be spent to its end: while less is left than one request's bound,
requests are admitted one at a time. So settled + held exceeds the limit by no more than what one request may cost.
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, Self

from app.units import NANO_PER_USD, usd_text

MS_PER_MINUTE = 60_000
MS_PER_DAY = 86_400_000

_TEXT = re.compile(r"(\d+(?:\.\d+)?)(usd|min|tokens)(?:/(day|week|month|total))?")
_MAX_LIMIT = 1 << 62
_MAX_TEXT = 1_000
_MINUTE_DIGITS = Decimal("1e-9")
_EPOCH = date(1970, 1, 1)


class Unit(StrEnum):
    """What is limited. Amounts are integers: nano-dollars, milliseconds, tokens."""

    USD = "usd"
    MINUTES = "min"
    TOKENS = "tokens"


class Window(StrEnum):
    """The period of a limit. Weeks begin on Monday (ISO 8601), all periods at midnight UTC."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"


class BudgetDecision(StrEnum):
    ADMIT = "admit"
    SPENT = "spent"
    RESERVED = "reserved"


class Amounts(NamedTuple):
    """What a request may cost, or has cost, in every unit."""

    cost: int = 0
    audio: int = 0
    tokens: int = 0

    def of(self, unit: Unit) -> int:
        if unit is Unit.USD:
            return self.cost
        return self.audio if unit is Unit.MINUTES else self.tokens

    def plus(self, other: "Amounts") -> "Amounts":
        return Amounts(self.cost + other.cost, self.audio + other.audio, self.tokens + other.tokens)

    def less(self, other: "Amounts") -> "Amounts":
        return Amounts(self.cost - other.cost, self.audio - other.audio, self.tokens - other.tokens)


NOTHING = Amounts()

_SCALE = {Unit.USD: NANO_PER_USD, Unit.MINUTES: MS_PER_MINUTE, Unit.TOKENS: 1}


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit in a window. `limit` is in nano-dollars, milliseconds or tokens."""

    limit: int
    unit: Unit
    window: Window

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the budget for a text such as `50usd/month`, `600min/day` or `20usd` (in total); ValueError."""
        if len(text) > _MAX_TEXT:
            raise ValueError(f"a text of {len(text)} characters is too long for a budget")
        match = _TEXT.fullmatch(text.strip().lower())
        if match is None:
            raise ValueError(f"{text!r} is not a budget such as 50usd/month, 600min/day or 1000000tokens/week")
        unit = Unit(match[2])
        limit = Decimal(match[1]) * _SCALE[unit]
        if limit != limit.to_integral_value() or not 0 < limit < _MAX_LIMIT:
            raise ValueError(f"{text!r} is not a budget: the amount is 0, too small or too large")
        return cls(int(limit), unit, Window(match[3] or Window.TOTAL))

    def __str__(self) -> str:
        return f"{amount_text(self.limit, self.unit)}{self.unit}/{self.window}"


def amount_text(amount: int, unit: Unit) -> str:
    """Returns an amount in dollars, minutes or tokens. Minutes have nine decimals at most; the others are exact."""
    if unit is Unit.USD:
        return usd_text(amount)
    if unit is Unit.TOKENS:
        return str(amount)
    return f"{(Decimal(amount) / MS_PER_MINUTE).quantize(_MINUTE_DIGITS).normalize():f}"


def decide(limit: int, settled: int, held: int, bound: int) -> BudgetDecision:
    """Returns whether a request that may cost `bound` is admitted while requests in flight hold `held`.

    For a request that raises its hold to `bound`, `held` is what the other requests hold.
    """
    if settled >= limit:
        return BudgetDecision.SPENT
    if held == 0 or settled + held + bound <= limit:
        return BudgetDecision.ADMIT
    return BudgetDecision.RESERVED


def first_day(window: Window, now_ms: int) -> date:
    """Returns the first day of the window that this moment is in."""
    return _first_day(window, now_ms // MS_PER_DAY)


@lru_cache
def _first_day(window: Window, day: int) -> date:
    today = _EPOCH + timedelta(days=day)
    if window is Window.DAY:
        return today
    if window is Window.WEEK:
        return today - timedelta(days=today.weekday())
    return today.replace(day=1) if window is Window.MONTH else _EPOCH


def next_day(window: Window, now_ms: int) -> date | None:
    """Returns the first day of the next window; None for a total."""
    begin = first_day(window, now_ms)
    if window is Window.DAY:
        return begin + timedelta(days=1)
    if window is Window.WEEK:
        return begin + timedelta(days=7)
    return (begin + timedelta(days=32)).replace(day=1) if window is Window.MONTH else None
