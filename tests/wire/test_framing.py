"""Request heads that are rejected by their fields."""

import pytest

from app.errors import Header
from app.wire.framing import check_head

HOST: Header = (b"host", b"gateway.test")
CHUNKED: Header = (b"transfer-encoding", b"chunked")


def length(value: bytes) -> Header:
    return (b"content-length", value)


@pytest.mark.parametrize("headers", [[HOST], [HOST, CHUNKED], [HOST, length(b"0")], [HOST, length(b"9" * 19)]])
def test_a_valid_head(headers: list[Header]) -> None:
    assert check_head("1.1", b"/", headers) is None


def test_http_1_0_needs_no_host() -> None:
    assert check_head("1.0", b"/", []) is None


@pytest.mark.parametrize("version", ["0.9", "1.2", "2.0"])
def test_an_unsupported_version(version: str) -> None:
    fault = check_head(version, b"/", [HOST])
    assert fault is not None
    assert (fault.status, fault.code) == (400, "bad_request")


def test_a_tunnel() -> None:
    fault = check_head("1.1", b"/", [HOST], tunnel=True)
    assert fault is not None
    assert (fault.status, fault.code) == (400, "bad_request")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [HOST, HOST],
        [HOST, CHUNKED, length(b"5")],
        [HOST, length(b"5"), length(b"5")],
        *([HOST, length(value)] for value in (b"", b"+5", b"-5", b"0x5", b"5, 5", b"9" * 20)),
    ],
)
def test_ambiguous_framing(headers: list[Header]) -> None:
    fault = check_head("1.1", b"/", headers)
    assert fault is not None
    assert (fault.status, fault.code) == (400, "bad_request")


@pytest.mark.parametrize("value", [b"xchunked", b"chunked, identity", b"gzip, chunked", b"identity"])
def test_another_transfer_encoding(value: bytes) -> None:
    fault = check_head("1.1", b"/", [HOST, (b"transfer-encoding", value)])
    assert fault is not None
    assert (fault.status, fault.code) == (501, "unsupported_transfer_encoding")


def test_chunked_in_http_1_0() -> None:
    fault = check_head("1.0", b"/", [CHUNKED])
    assert fault is not None
    assert fault.status == 400


@pytest.mark.parametrize("host", [b"a", b"a.b-c_d:8080", b"a:", b"[::1]:80", b"127.0.0.1", b"a \t"])
def test_a_valid_host(host: bytes) -> None:
    assert check_head("1.1", b"/", [(b"host", host)]) is None


@pytest.mark.parametrize(
    "host", [b"", b"a/#@b", b"a b", b"a,b", b"a@b", b"a?b", b"a\\b", b"a:x", b"[::1", b"\xe9", b":80"]
)
def test_an_invalid_host(host: bytes) -> None:
    fault = check_head("1.1", b"/", [(b"host", host)])
    assert fault is not None
    assert (fault.status, fault.code) == (400, "bad_request")


def test_a_target_with_a_fragment() -> None:
    fault = check_head("1.1", b"/v1/models#x", [HOST])
    assert fault is not None
    assert (fault.status, fault.code) == (400, "bad_request")
