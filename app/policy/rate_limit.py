"""How often a caller may ask: GCRA, the leaky bucket without a drip (ITU-T I.371; ATM Forum UNI 3.1, A.1).

One number is all the state there is: the theoretical arrival time (TAT) at which the bucket would be empty again. A
request conforms while TAT lies no further ahead than the burst allows. Times are nanoseconds of any monotonic clock.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

MINUTE_NS = 60_000_000_000


@dataclass(frozen=True)
class Rate:
    """So many requests a minute in the long run, and `burst` of them at once."""

    per_minute: int
    burst: int

    @cached_property
    def interval_ns(self) -> int:
        """The time that one request takes up, rounded up: never more than `per_minute` in the long run."""
        return -(-MINUTE_NS // self.per_minute)


class RateDecision(NamedTuple):
    """What a rate says to one request. `tat_ns` is the state to keep; `wait_ns` is 0 if the request may pass."""

    tat_ns: int
    wait_ns: int
    remaining: int
    reset_ns: int

    @property
    def allowed(self) -> bool:
        return self.wait_ns == 0


def check_rate(rate: Rate, tat_ns: int, now_ns: int) -> RateDecision:
    """Judge a request that comes now. A refused one takes nothing from the bucket."""
    interval, tolerance = rate.interval_ns, rate.interval_ns * (rate.burst - 1)
    due = max(tat_ns, now_ns)
    wait = due - tolerance - now_ns
    if wait > 0:
        return RateDecision(due, wait, 0, due - now_ns)
    after = due + interval
    return RateDecision(after, 0, (tolerance + interval - (after - now_ns)) // interval, after - now_ns)
