"""A caller that writes exact bytes: it sends requests that no HTTP library would, and shows a response as it is."""

import contextlib
import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.stubs import canary
from tests.stubs.form import Part, multipart

__all__ = ["Ended", "Headers", "Part", "RawConnection", "RawResponse", "chunked", "multipart", "request"]

Headers = Iterable[tuple[str, str]]


def request(method: str, path: str, headers: Headers = (), body: bytes = b"") -> bytes:
    """Returns a request with exactly these headers. A body without a framing header gets its Content-Length."""
    lines = [f"{name}: {value}" for name, value in headers]
    names = {line.partition(":")[0].lower() for line in lines}
    if "host" not in names:
        lines.insert(0, "Host: gateway.test")
    if body and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1") + body


def chunked(pieces: Iterable[bytes], last: bytes = b"0\r\n\r\n") -> bytes:
    """Returns the pieces as chunks. `last` may have trailers, or be empty for a body that does not end."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + last


@dataclass(frozen=True)
class RawResponse:
    """One response. `complete` is False if the connection ended first; `status` is 0 without a head."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    complete: bool
    interim: list[int]

    def header(self, name: str) -> str | None:
        """Returns the value of a header; None if it is missing. Raises ValueError for duplicates."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        if len(values) > 1:
            raise ValueError(f"{name} came {len(values)} times: {values}")
        return values[0] if values else None

    def json(self) -> Any:
        return json.loads(self.body)


class Ended(Exception):
    """The connection ended before the expected bytes."""


class RawConnection:
    """One TCP connection, from a port of `source`. Bytes beyond a response are kept for the next one."""

    def __init__(self, host: str, port: int, timeout: float = 10, source: str = "") -> None:
        self.socket = socket.create_connection((host, port), timeout, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Ends the connection with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def closed(self, timeout: float = 5) -> bool:
        """Returns whether the other side closes within `timeout` seconds without sending another byte."""
        if self._buffer:
            return False
        usual = self.socket.gettimeout()
        self.socket.settimeout(timeout)
        try:
            self._buffer += self.socket.recv(65536)
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        finally:
            self.socket.settimeout(usual)
        return not self._buffer

    def read_response(self, method: str = "POST") -> RawResponse:
        """Returns the next final response, with the statuses of interim ones. A response to HEAD has no body."""
        interim: list[int] = []
        try:
            status, headers = self._read_head()
            while 100 <= status < 200:
                interim.append(status)
                status, headers = self._read_head()
        except Ended:
            return RawResponse(0, [], bytes(self._buffer), False, interim)
        body = bytearray()
        complete = method == "HEAD" or status in (204, 304) or self._read_body(headers, body)
        canary.check("a response", repr(headers).encode() + body)
        return RawResponse(status, headers, bytes(body), complete, interim)

    def read_until(self, end: bytes) -> bytes:
        """Returns the bytes up to `end` and drops `end`. Raises Ended."""
        while (at := self._buffer.find(end)) < 0:
            if not self._fill():
                raise Ended
        data = bytes(self._buffer[:at])
        del self._buffer[: at + len(end)]
        return data

    def _read_head(self) -> tuple[int, list[tuple[str, str]]]:
        first, *lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return int(first.split(" ")[1]), [(name, value.strip()) for name, _, value in pairs]

    def _read_body(self, headers: Headers, into: bytearray) -> bool:
        values = {name.lower(): value for name, value in headers}
        if values.get("transfer-encoding") == "chunked":
            with contextlib.suppress(Ended):
                return self._read_chunks(into)
            return False
        if "content-length" in values:
            return self._read_up_to(int(values["content-length"]), into)
        while self._fill():
            pass
        into += self._buffer
        self._buffer.clear()
        return True

    def _read_chunks(self, into: bytearray) -> bool:
        while size := int(self.read_until(b"\r\n"), 16):
            if not self._read_up_to(size, into):
                return False
            self.read_until(b"\r\n")
        while self.read_until(b"\r\n"):
            pass
        return True

    def _read_up_to(self, size: int, into: bytearray) -> bool:
        while len(self._buffer) < size and self._fill():
            pass
        into += self._buffer[:size]
        complete = len(self._buffer) >= size
        del self._buffer[:size]
        return complete

    def _fill(self) -> bool:
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionError:
            return False
        self._buffer += data
        return bool(data)
