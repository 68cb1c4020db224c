"""Failed authentication: the log gets each bad key, and an address that sends too many of them is refused.

Good keys are never affected, whatever else comes from their address: a whole company may share one.
"""

import logging
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

from app import errors
from app.errors import APIError
from app.policy.rate_limit import Rate, check_rate

MAX_ADDRESSES = 10_000
NS_PER_SECOND = 1_000_000_000

_log = logging.getLogger("audio_gateway.auth")


class AuthFailureLimiter:
    """Counts the bad keys of each address. It keeps the latest 10,000 addresses, so that its memory is bounded."""

    def __init__(self, per_minute: int) -> None:
        self._rate = Rate(per_minute, per_minute)
        self._arrival_times: dict[str, int] = {}

    def watching(self, request_id: str, address: str, now_ns: int) -> "AuthFailureWatch":
        """Returns the context for checking a key. A 401 becomes a 429 if the address has sent too many bad keys."""
        return AuthFailureWatch(self, request_id, address, now_ns)

    def count(self, error: APIError, request_id: str, address: str, now_ns: int) -> None:
        """Counts a bad key from this address; APIError 429 if there were too many."""
        wait_ns = self._take(_origin(address), now_ns)
        if wait_ns:
            raise errors.too_many_bad_keys(wait_ns / NS_PER_SECOND) from error
        _log.info("request %s from %s is refused: %s", request_id, address, error.reason)

    def _take(self, origin: str, now_ns: int) -> int:
        """Returns 0 if one more bad key is within the rate, else the nanoseconds until the next one is.

        The address that sent a bad key longest ago is forgotten first.
        """
        decision = check_rate(self._rate, self._arrival_times.pop(origin, 0), now_ns)
        self._arrival_times[origin] = decision.tat_ns
        if len(self._arrival_times) > MAX_ADDRESSES:
            del self._arrival_times[next(iter(self._arrival_times))]
        return decision.wait_ns


class AuthFailureWatch(NamedTuple):
    """The check of one key."""

    auth_failures: AuthFailureLimiter
    request_id: str
    address: str
    now_ns: int

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, APIError) and error.status == 401:
            self.auth_failures.count(error, self.request_id, self.address, self.now_ns)


def _origin(address: str) -> str:
    """Returns what one customer of a network has: an IPv4 address, or the /64 of an IPv6 address (RFC 6177)."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or IPv6Network((int(parsed), 64), strict=False))
