"""Bad keys of an address: counted by network, refused above the rate, in bounded memory."""

import logging

import pytest

from app import errors
from app.errors import APIError
from app.gateway.auth_failures import MAX_ADDRESSES, AuthFailureLimiter

SECOND_NS = 1_000_000_000
OFFICE = "203.0.113.7"


def refused(auth_failures: AuthFailureLimiter, address: str = OFFICE, now_ns: int = 0) -> APIError:
    """The error of a bad key."""
    with pytest.raises(APIError) as caught, auth_failures.watching("req_1", address, now_ns):
        raise errors.invalid_api_key("no such key")
    return caught.value


def test_an_address_above_the_rate_gets_429() -> None:
    auth_failures = AuthFailureLimiter(60)
    assert [refused(auth_failures).status for _ in range(60)] == [401] * 60
    stopped = refused(auth_failures)
    assert (stopped.status, stopped.code, stopped.retry, stopped.retry_after) == (429, "too_many_bad_keys", False, 1)
    assert refused(auth_failures, now_ns=SECOND_NS).status == 401
    assert refused(auth_failures, now_ns=SECOND_NS).status == 429


def test_only_bad_keys_are_counted() -> None:
    auth_failures = AuthFailureLimiter(1)
    assert refused(auth_failures).status == 401
    with auth_failures.watching("req_1", OFFICE, 0):
        pass
    with pytest.raises(APIError) as caught, auth_failures.watching("req_1", OFFICE, 0):
        raise errors.ledger_unavailable()
    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (OFFICE, "203.0.113.8", False),
        (OFFICE, "::ffff:203.0.113.7", True),  # as a socket for both families writes it
        ("::ffff:203.0.113.7", "::ffff:203.0.113.8", False),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "no address", True),
    ],
)
def test_an_address_is_an_ipv4_address_or_an_ipv6_network(one: str, other: str, together: bool) -> None:
    auth_failures = AuthFailureLimiter(1)
    assert refused(auth_failures, one).status == 401
    assert refused(auth_failures, other).status == (429 if together else 401)


def test_the_oldest_addresses_are_forgotten_first() -> None:
    auth_failures = AuthFailureLimiter(1)
    for number in range(MAX_ADDRESSES):
        refused(auth_failures, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert refused(auth_failures, "10.0.0.0").status == 429  # and is now the last to come
    refused(auth_failures, "192.0.2.1")
    assert refused(auth_failures, "10.0.0.0").status == 429
    assert refused(auth_failures, "10.0.0.1").status == 401


def test_the_reason_is_logged_with_the_request_and_the_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    auth_failures = AuthFailureLimiter(1)
    for _ in range(3):
        refused(auth_failures)
    assert [each.getMessage() for each in caplog.records] == ["request req_1 from 203.0.113.7 is refused: no such key"]
