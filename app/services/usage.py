"""Usage reports: totals over the requests of the ledger, for commands, the admin API and `GET /v1/usage`."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Protocol

from app.policy.budget import Budget, amount_text
from app.policy.caller_policy import Tags
from app.units import seconds_of, usd_text

DAY_MS = 86_400_000

# A row of the ledger as it is exported: times in ISO 8601, money as a decimal string, audio in seconds.
ExportedRow = dict[str, object]


class Grouping(StrEnum):
    """What a usage report has one line for."""

    CALLER = "caller"
    KEY = "key"
    MODEL = "model"
    ENDPOINT = "endpoint"
    DAY = "day"
    TAG = "tag"


@dataclass(frozen=True, slots=True)
class Period:
    """Whole UTC days, both ends included; None means no limit. A request counts on the day of its admission."""

    since: date | None = None
    until: date | None = None

    @property
    def begin_ms(self) -> int:
        return 0 if self.since is None else _midnight_ms(self.since)

    @property
    def end_ms(self) -> int:
        """The first millisecond after the period, since the epoch."""
        return (1 << 62) if self.until is None else _midnight_ms(self.until) + DAY_MS


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """The totals of one group. Audio in milliseconds, cost in nano-dollars; unknown requests count at their hold."""

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
        """Returns the JSON object: `audio_seconds` is a number, `cost_usd` a decimal string."""
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
    """The status of a budget: what is spent, held and left, in the unit of the budget, and the day of its reset."""

    budget: Budget
    spent: int
    held: int
    resets: date | None

    @property
    def left(self) -> int:
        return max(0, self.budget.limit - self.spent - self.held)

    def as_json(self) -> dict[str, object]:
        """Returns `{"budget", "spent", "held", "left", "resets_at"}`, amounts as decimal strings."""
        unit = self.budget.unit
        return {
            "budget": str(self.budget),
            "spent": amount_text(self.spent, unit),
            "held": amount_text(self.held, unit),
            "left": amount_text(self.left, unit),
            "resets_at": f"{self.resets.isoformat()}T00:00:00Z" if self.resets else None,
        }


class UsageRepository(Protocol):
    """Reads usage from the ledger, over the connection of a session."""

    def totals(
        self, grouping: Grouping, period: Period, caller: str | None = None, tags: Tags = ()
    ) -> list[UsageTotals]:
        """Returns the totals of each group, in the order of the groups; with tags, of the requests that carry all."""

    def budget_statuses(self, caller: str, budgets: tuple[Budget, ...], now_ms: int) -> list[BudgetStatus]:
        """Returns the status of each of a caller's budgets, all at one moment."""

    def has_usage(self, caller: str) -> bool:
        """Whether the ledger ever counted a request of a caller of this name."""

    def one_moment(self) -> AbstractContextManager[object]:
        """Makes all reads inside the block see the ledger as it is at one moment."""

    def count_rows(self, period: Period) -> tuple[int, int]:
        """Returns how many rows of a period exist, and how many more were pruned."""

    def exported_rows(self, period: Period) -> Iterator[ExportedRow]:
        """Yields every admitted request of a period, in the order of admission."""

    def disagreements(self, period: Period) -> list[str]:
        """Returns one line for each daily total that differs from its rows, and for rows with a wrong state."""


def _midnight_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
