"""What a usage report is: sums over the rows of the ledger, for the command and for `GET /v1/usage`."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

from app.policy.budget import Budget, amount_text
from app.units import seconds_of, usd_text

DAY_MS = 86_400_000


class Grouping(StrEnum):
    CALLER = "caller"
    KEY = "key"
    MODEL = "model"
    ENDPOINT = "endpoint"
    DAY = "day"
    TAG = "tag"


@dataclass(frozen=True, slots=True)
class Period:
    """Whole UTC days, both ends included; None is open. A request counts on the day it was admitted."""

    since: date | None = None
    until: date | None = None

    @property
    def begin_ms(self) -> int:
        return 0 if self.since is None else _midnight_ms(self.since)

    @property
    def end_ms(self) -> int:
        """The first millisecond after the period."""
        return (1 << 62) if self.until is None else _midnight_ms(self.until) + DAY_MS


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """One group's sums. Audio in milliseconds, cost in nano-dollars; `unknown` rows are charged at their hold."""

    group: str
    requests: int = 0
    settled: int = 0
    unknown: int = 0
    refused: int = 0
    input_tokens: int = 0
    audio_tokens: int = 0
    text_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    audio_ms: int = 0
    cost_nano_usd: int = 0

    def as_json(self, grouping: Grouping) -> dict[str, object]:
        """The object that is shown: `audio_seconds` a number, `cost_usd` a decimal string."""
        return {
            grouping.value: self.group,
            "requests": self.requests,
            "settled": self.settled,
            "unknown": self.unknown,
            "refused": self.refused,
            "input_tokens": self.input_tokens,
            "audio_tokens": self.audio_tokens,
            "text_tokens": self.text_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.total_tokens,
            "audio_seconds": seconds_of(self.audio_ms),
            "cost_usd": usd_text(self.cost_nano_usd),
        }


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """How a budget stands, for reports; amounts in the budget's own unit."""

    budget: Budget
    spent: int
    held: int
    resets: date | None

    @property
    def left(self) -> int:
        return max(0, self.budget.limit - self.spent - self.held)

    def as_json(self) -> dict[str, object]:
        """`{"budget", "spent", "held", "left", "resets_at"}`: amounts as decimal strings in the budget's unit."""
        unit = self.budget.unit
        return {
            "budget": str(self.budget),
            "spent": amount_text(self.spent, unit),
            "held": amount_text(self.held, unit),
            "left": amount_text(self.left, unit),
            "resets_at": f"{self.resets.isoformat()}T00:00:00Z" if self.resets else None,
        }


def _midnight_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
