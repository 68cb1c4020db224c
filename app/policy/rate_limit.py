"""The rate limit of a caller: GCRA, a leaky bucket without a timer (ITU-T I.371; ATM Forum UNI 3.1, A.1).

The only state is one number: the theoretical arrival time (TAT), at which the bucket would be empty again. A request
conforms while TAT is no further ahead than the burst allows. Times are nanoseconds of any monotonic clock.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

MINUTE_NS = 60_000_000_000


@dataclass(frozen=True)
class Rate:
    """`per_minute` requests a minute in the long run, and `burst` of them at once."""

    per_minute: int
    burst: int

    @cached_property
    def interval_ns(self) -> int:
        """The time that one request uses. It is rounded up, so that `per_minute` is never exceeded in the long run."""
        return -(-MINUTE_NS // self.per_minute)


class RateDecision(NamedTuple):
    """The decision on one request. `tat_ns` is the state to keep. `wait_ns` is 0 if the request is allowed."""

    tat_ns: int
    wait_ns: int
    remaining: int
    reset_ns: int

    @property
    def allowed(self) -> bool:
        return self.wait_ns == 0


def check_rate(rate: Rate, tat_ns: int, now_ns: int) -> RateDecision:
    """Returns the decision on a request that arrives now. A refused request uses nothing of the rate."""
    interval, tolerance = rate.interval_ns, rate.interval_ns * (rate.burst - 1)
    due = max(tat_ns, now_ns)
    wait = due - tolerance - now_ns
    if wait > 0:
        return RateDecision(due, wait, 0, due - now_ns)
    after = due + interval
    return RateDecision(after, 0, (tolerance + interval - (after - now_ns)) // interval, after - now_ns)
