"""Bad keys: each is told of in the log, and an address that brings too many of them is told to stop.

Good keys are never held up, whatever else comes from their address: a whole company may stand behind one.
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
    """Counts the bad keys of each address; of the latest 10,000 addresses, so that strangers take no more memory."""

    def __init__(self, per_minute: int) -> None:
        self._rate = Rate(per_minute, per_minute)
        self._arrivals: dict[str, int] = {}

    def watching(self, request_id: str, address: str, now_ns: int) -> "AuthFailureWatch":
        """Around the look at a key: APIError 429 in place of 401 once the address has brought too many bad ones."""
        return AuthFailureWatch(self, request_id, address, now_ns)

    def count(self, refusal: APIError, request_id: str, address: str, now_ns: int) -> None:
        """Take in that this address has brought a bad key; APIError 429 once it has brought too many."""
        wait_ns = self._counted(_origin(address), now_ns)
        if wait_ns:
            raise errors.too_many_bad_keys(wait_ns / NS_PER_SECOND) from refusal
        _log.info("request %s from %s is refused: %s", request_id, address, refusal.reason)

    def _counted(self, origin: str, now_ns: int) -> int:
        """Nanoseconds until the next bad key is counted; 0 if this one is. Whoever came last is forgotten last."""
        told = check_rate(self._rate, self._arrivals.pop(origin, 0), now_ns)
        self._arrivals[origin] = told.tat_ns
        if len(self._arrivals) > MAX_ADDRESSES:
            del self._arrivals[next(iter(self._arrivals))]
        return told.wait_ns


class AuthFailureWatch(NamedTuple):
    """One look at a key."""

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
    """What one customer of a network has: an IPv4 address, or the /64 of an IPv6 one (RFC 6177)."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or IPv6Network((int(parsed), 64), strict=False))
