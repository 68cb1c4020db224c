"""A DNS server on an address of its own that answers every name with 127.0.0.1, or nothing at all (RFC 1035, 4)."""

import socket
import struct
import threading
from types import TracebackType
from typing import Self

_QUESTION_AT = 12
_A = 1


class Nameserver:
    """Needs the right to bind port 53, which is where the system's resolver asks.

    answering  whether it answers; cleared, it takes questions and is silent
    asked      how many questions have come
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.answering = threading.Event()
        self.asked = 0
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
                question, asker = self._socket.recvfrom(512)
            except OSError:
                return
            self.asked += 1
            if self.answering.is_set():
                self._socket.sendto(_answer(question), asker)


def _answer(question: bytes) -> bytes:
    """One address for a question of type A, none for another."""
    end = question.index(b"\0", _QUESTION_AT) + 5
    kind = struct.unpack("!H", question[end - 4 : end - 2])[0]
    count = int(kind == _A)
    head = question[:2] + struct.pack("!HHHHH", 0x8180, 1, count, 0, 0)
    address = b"\xc0\x0c" + struct.pack("!HHIH", _A, 1, 0, 4) + bytes([127, 0, 0, 1])
    return head + question[_QUESTION_AT:end] + address * count
