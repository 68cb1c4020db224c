"""How often and how many at once: the limits that a caller's terms set, decided before the body is read."""

from app import errors
from app.errors import Header
from app.gateway.caller import Caller
from app.policy.rate_limit import RateDecision, check_rate

CONCURRENCY_RETRY_SECONDS = 1.0
NS_PER_SECOND = 1_000_000_000


class RateLimiter:
    """Every caller's bucket and requests in flight."""

    def __init__(self) -> None:
        self._arrivals: dict[str, int] = {}
        self.in_flight: dict[str, int] = {}

    def check_rate(self, caller: Caller, now_ns: int) -> tuple[Header, ...]:
        """Take one request from the caller's rate; the headers that tell what is left. APIError 429 if none is."""
        rate = caller.policy.rate
        if rate is None:
            return ()
        told = check_rate(rate, self._arrivals.get(caller.name, 0), now_ns)
        headers = _headers(rate.per_minute, told)
        if not told.allowed:
            raise errors.rate_limit_exceeded(
                f"{rate.per_minute} requests a minute", told.wait_ns / NS_PER_SECOND, headers
            )
        self._arrivals[caller.name] = told.tat_ns
        return headers

    def check_concurrency(self, caller: Caller) -> None:
        """APIError 429 if all of the caller's places are taken."""
        most = caller.policy.concurrency
        if most is not None and self.in_flight.get(caller.name, 0) >= most:
            raise errors.rate_limit_exceeded(f"{most} requests at once", CONCURRENCY_RETRY_SECONDS)

    def take_lease(self, caller: Caller) -> None:
        """Take one of the caller's places, to be freed on every way out."""
        self.in_flight[caller.name] = self.in_flight.get(caller.name, 0) + 1

    def release_lease(self, caller: Caller) -> None:
        left = self.in_flight[caller.name] - 1
        if left:
            self.in_flight[caller.name] = left
        else:
            del self.in_flight[caller.name]


def _headers(limit: int, told: RateDecision) -> tuple[Header, ...]:
    """OpenAI's names, and its way to write a time: `1s`, `6m0s`, `250ms`."""
    return (
        (b"x-ratelimit-limit-requests", b"%d" % limit),
        (b"x-ratelimit-remaining-requests", b"%d" % told.remaining),
        (b"x-ratelimit-reset-requests", _duration(told.reset_ns).encode()),
    )


def _duration(nanoseconds: int) -> str:
    milliseconds = -(-nanoseconds // 1_000_000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    seconds = f"{rest / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
