"""What the request path writes to the ledger and reads from it, as values.

Hold                how a request's row begins
SettlementResult    how it ends
BudgetAlert         that a caller has spent a share of a budget
ClosedUsage         what a caller's closed rows add up to
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from app.policy.budget import Amounts
from app.policy.caller_policy import Tags
from app.policy.task import Task
from app.units import Tokens, Usage, UsageSource, iso_time

# The first day of a period, and the first day after it; None for a period without an end.
Days = tuple[date, date | None]


class State(StrEnum):
    """The state of a request's row. `app.gateway.settlement` has the transitions."""

    HELD = "held"
    SETTLED = "settled"
    RELEASED = "released"
    UNKNOWN = "unknown"


class Hold(NamedTuple):
    """A request's row when it begins. Until the request ends, its state is `held` and its charge is `bound`."""

    id: str
    caller: str
    key_id: str
    task: Task
    model: str
    upstream: str
    upstream_model: str
    container: str
    received_ms: int
    admitted_ms: int
    bound: Amounts
    tags: Tags


@dataclass(frozen=True, slots=True)
class BudgetAlert:
    """A caller has spent a share of a budget. There is one alert for each threshold and window.

    `threshold` and the share that is `reached` are in percent.
    """

    id: str
    caller: str
    budget: str
    window: date
    threshold: int
    reached: int
    spent: str
    limit: str
    created_ms: int

    def document(self) -> dict[str, object]:
        """Returns the webhook's body."""
        return {
            "id": self.id,
            "type": "budget.threshold_reached",
            "created_at": iso_time(self.created_ms),
            "caller": self.caller,
            "budget": self.budget,
            "window_began": self.window.isoformat(),
            "threshold_percent": self.threshold,
            "spent_percent": self.reached,
            "spent": self.spent,
            "limit": self.limit,
        }


class SettlementResult(NamedTuple):
    """How a request ended, as its row states it. Times are milliseconds since the epoch, UTC.

    `bound` is the last value of the hold. `implausible` is usage that the upstream reported and that is not believed.
    """

    id: str
    state: State
    status: int
    error: str | None
    bound: Amounts
    charge: Amounts
    tokens: Tokens | None
    source: UsageSource | None
    file_bytes: int
    response_format: str
    stream: bool
    upstream_request_id: str | None
    sent_ms: int | None
    answered_ms: int | None
    done_ms: int
    alerts: tuple[BudgetAlert, ...] = ()
    implausible: Usage | None = None

    @property
    def charged(self) -> bool:
        """Whether the upstream has billed the request, or may have. A second try would then be paid twice."""
        return self.state in (State.SETTLED, State.UNKNOWN)


@dataclass(frozen=True, slots=True)
class ClosedUsage:
    """What a caller's closed rows add up to in each of some periods.

    `resolution` is the number of the last resolution of an unknown row that is included.
    """

    amounts: tuple[Amounts, ...]
    resolution: int
