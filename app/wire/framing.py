"""Checks request heads (RFC 9112): a request that two servers could frame differently is rejected.

The HTTP parser rejects most malformed heads; these checks find those that it accepts.
"""

import re
from collections.abc import Sequence

from app import errors
from app.errors import APIError, Header

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 100

# A chunked body may have FREE_CHUNKS chunks, and one more for each BYTES_PER_CHUNK bytes. A chunk of one byte costs the
# parser as much as one of 100; live audio has chunks of 10 bytes and more.
FREE_CHUNKS = 4096
BYTES_PER_CHUNK = 8

_VERSIONS = frozenset({"1.0", "1.1"})
_HOST = re.compile(rb"([0-9A-Za-z._~-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{0,5})?")


def check_head(version: str, target: bytes, headers: Sequence[Header], tunnel: bool = False) -> APIError | None:
    """The error that a request head deserves, or None for a valid head. Header names are in lower case.

    `tunnel`: the parser treats what follows as another protocol, as after CONNECT.
    """
    values: dict[bytes, list[bytes]] = {b"transfer-encoding": [], b"content-length": [], b"host": []}
    size = len(target)
    for name, value in headers:
        size += len(name) + len(value)
        if name in values:
            values[name].append(value)
    if size > MAX_HEAD_BYTES or len(headers) > MAX_HEADERS:
        return too_large()
    encodings, lengths, hosts = values.values()
    if version not in _VERSIONS:
        return errors.bad_request(f"HTTP/{version} is not supported; use HTTP/1.1.")
    if tunnel:
        return errors.bad_request("The gateway is not a proxy: it does not open tunnels.")
    if encodings and (lengths or version == "1.0"):
        return errors.bad_request("Transfer-Encoding must not be used with Content-Length or HTTP/1.0.")
    if encodings and [encoding.strip().lower() for encoding in encodings] != [b"chunked"]:
        return errors.unsupported_transfer_encoding()
    if len(lengths) > 1 or (lengths and not (lengths[0].isdigit() and len(lengths[0]) < 20)):
        return errors.bad_request("Content-Length must be one number.")
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        return errors.bad_request("The request must have exactly one Host header.")
    if hosts and not _HOST.fullmatch(hosts[0].strip()):
        return errors.bad_request("The Host header must be a host with an optional port.")
    if b"#" in target:
        return errors.bad_request("The URL must not have a fragment.")
    return None


def too_large() -> APIError:
    """The error for a request head above the limits, complete or not."""
    return errors.head_too_large(MAX_HEAD_BYTES, MAX_HEADERS)


def max_chunks(size: int) -> int:
    """The most chunks that a body of `size` bytes may have."""
    return FREE_CHUNKS + size // BYTES_PER_CHUNK


def chunks_too_small() -> APIError:
    """The error for a body with more than `max_chunks`."""
    return errors.bad_request(
        f"The chunks of the body are too small: send at least {BYTES_PER_CHUNK} bytes in a chunk, on average."
    )
