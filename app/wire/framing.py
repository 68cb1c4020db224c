"""Which request heads a gateway may take (RFC 9112). What two servers could frame in two ways is refused, not guessed.

The HTTP parser finds most faults by itself; these are the ones that it lets through.
"""

import re
from collections.abc import Sequence

from app import errors
from app.errors import APIError, Header

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 100

# Of a chunked body: so many chunks are free, and beyond them one for so many bytes. A chunk of one byte costs the
# parser as much as one of 100; live audio has chunks of 10 bytes and more.
FREE_CHUNKS = 4096
BYTES_PER_CHUNK = 8

_VERSIONS = frozenset({"1.0", "1.1"})
_HOST = re.compile(rb"([0-9A-Za-z._~-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{0,5})?")


def fault_of(version: str, target: bytes, headers: Sequence[Header], tunnel: bool = False) -> APIError | None:
    """What is wrong with the head of a request, or None. Names are in lower case.

    `tunnel`: the parser takes what follows for another protocol, as after CONNECT.
    """
    told: dict[bytes, list[bytes]] = {b"transfer-encoding": [], b"content-length": [], b"host": []}
    size = len(target)
    for name, value in headers:
        size += len(name) + len(value)
        if name in told:
            told[name].append(value)
    if size > MAX_HEAD_BYTES or len(headers) > MAX_HEADERS:
        return too_large()
    encodings, lengths, hosts = told.values()
    if version not in _VERSIONS:
        return errors.bad_request(f"HTTP/{version} is not spoken here; HTTP/1.1 is.")
    if tunnel:
        return errors.bad_request("The gateway is no proxy: the connection cannot become a tunnel.")
    if encodings and (lengths or version == "1.0"):
        return errors.bad_request("Transfer-Encoding stands beside Content-Length, or in HTTP/1.0.")
    if encodings and [encoding.strip().lower() for encoding in encodings] != [b"chunked"]:
        return errors.unsupported_transfer_encoding()
    if len(lengths) > 1 or (lengths and not (lengths[0].isdigit() and len(lengths[0]) < 20)):
        return errors.bad_request("The Content-Length is not one number.")
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        return errors.bad_request("There is not exactly one Host header.")
    if hosts and not _HOST.fullmatch(hosts[0].strip()):
        return errors.bad_request("The Host header is not a host and a port.")
    if b"#" in target:
        return errors.bad_request("The URL has a fragment, which no client sends.")
    return None


def too_large() -> APIError:
    """The refusal of a head beyond the limits, whole or not."""
    return errors.head_too_large(MAX_HEAD_BYTES, MAX_HEADERS)


def most_chunks(size: int) -> int:
    """How many chunks may bring so many bytes."""
    return FREE_CHUNKS + size // BYTES_PER_CHUNK


def chunks_too_small() -> APIError:
    return errors.bad_request(
        f"The chunks of the body are too small: send at least {BYTES_PER_CHUNK} bytes in a chunk, on average."
    )
