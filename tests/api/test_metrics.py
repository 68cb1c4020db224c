"""Which addresses are of this machine."""

import pytest
from starlette.requests import Request

from app.api.metrics import is_local


def request(client: tuple[str, int] | None, *headers: tuple[bytes, bytes]) -> Request:
    return Request({"type": "http", "client": client, "headers": list(headers)})


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_local(address: str) -> None:
    assert is_local(request((address, 1)))
    assert is_local(request((address, 1), (b"host", b"example.org"), (b"user-agent", b"Prometheus/2.42")))


@pytest.mark.parametrize("address", ["10.0.0.1", "128.0.0.1", "::2", "::ffff:10.0.0.1", "2001:db8::1", "localhost", ""])
def test_every_other_is_not(address: str) -> None:
    assert not is_local(request((address, 1)))


def test_neither_is_a_client_without_an_address() -> None:
    assert not is_local(request(None))


@pytest.mark.parametrize(
    "name", [b"forwarded", b"via", b"x-forwarded-for", b"X-Forwarded-Proto", b"x-forwarded-host", b"x-real-ip"]
)
def test_nor_what_a_proxy_forwards(name: bytes) -> None:
    assert not is_local(request(("127.0.0.1", 1), (name.lower(), b"")))
