"""The rate limiter: each caller's rate and concurrency, checked before the body is read."""

from app import errors
from app.errors import Header
from app.gateway.caller import Caller
from app.policy.rate_limit import RateDecision, check_rate

CONCURRENCY_RETRY_SECONDS = 1.0
NS_PER_SECOND = 1_000_000_000


class RateLimiter:
    """The rate and the requests in flight of each caller."""

    def __init__(self) -> None:
        self._arrival_times: dict[str, int] = {}
        self.in_flight: dict[str, int] = {}

    def check_rate(self, caller: Caller, now_ns: int) -> tuple[Header, ...]:
        """Takes one request from the caller's rate; APIError 429 if it is used up. The headers say what is left."""
        rate = caller.policy.rate
        if rate is None:
            return ()
        decision = check_rate(rate, self._arrival_times.get(caller.name, 0), now_ns)
        headers = _headers(rate.per_minute, decision)
        if not decision.allowed:
            raise errors.rate_limit_exceeded(
                f"{rate.per_minute} requests a minute", decision.wait_ns / NS_PER_SECOND, headers
            )
        self._arrival_times[caller.name] = decision.tat_ns
        return headers

    def check_concurrency(self, caller: Caller) -> None:
        """Raises APIError 429 if the caller has as many requests in flight as its policy allows."""
        limit = caller.policy.concurrency
        if limit is not None and self.in_flight.get(caller.name, 0) >= limit:
            raise errors.rate_limit_exceeded(f"{limit} requests at once", CONCURRENCY_RETRY_SECONDS)

    def take_lease(self, caller: Caller) -> None:
        """Counts one more request of the caller. It must be released on every way out."""
        self.in_flight[caller.name] = self.in_flight.get(caller.name, 0) + 1

    def release_lease(self, caller: Caller) -> None:
        left = self.in_flight[caller.name] - 1
        if left:
            self.in_flight[caller.name] = left
        else:
            del self.in_flight[caller.name]


def _headers(limit: int, decision: RateDecision) -> tuple[Header, ...]:
    """Returns OpenAI's rate limit headers. Times are written as OpenAI writes them: `1s`, `6m0s`, `250ms`."""
    return (
        (b"x-ratelimit-limit-requests", b"%d" % limit),
        (b"x-ratelimit-remaining-requests", b"%d" % decision.remaining),
        (b"x-ratelimit-reset-requests", _duration(decision.reset_ns).encode()),
    )


def _duration(nanoseconds: int) -> str:
    milliseconds = -(-nanoseconds // 1_000_000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    seconds = f"{rest / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
