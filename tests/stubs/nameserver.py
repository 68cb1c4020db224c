"""A DNS server that resolves every name to 127.0.0.1, or does not respond (RFC 1035, 4)."""

import socket
import struct
import threading
from types import TracebackType
from typing import Self

_QUESTION_AT = 12
_A = 1


class Nameserver:
    """Needs the right to bind port 53, the port of the system's resolver.

    answering  set: it responds; cleared: it is silent
    queries    the number of queries so far
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.answering = threading.Event()
        self.queries = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._serve, name="nameserver", daemon=True)

    def __enter__(self) -> Self:
        self._socket.bind((self.address, 53))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                query, client = self._socket.recvfrom(512)
            except OSError:
                return
            self.queries += 1
            if self.answering.is_set():
                self._socket.sendto(_response(query), client)


def _response(query: bytes) -> bytes:
    """Returns one address for a query of type A, none for another."""
    end = query.index(b"\0", _QUESTION_AT) + 5
    kind = struct.unpack("!H", query[end - 4 : end - 2])[0]
    count = int(kind == _A)
    head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, count, 0, 0)
    address = b"\xc0\x0c" + struct.pack("!HHIH", _A, 1, 0, 4) + bytes([127, 0, 0, 1])
    return head + query[_QUESTION_AT:end] + address * count
