"""Many slow uploads from one thread. Each sends a chunk in turn, at a fixed rate."""

import time
from collections.abc import Callable

from bench.form import LARGE_BYTES, form
from bench.target import Target

BYTES_PER_SECOND = 20 * 1024

_CHUNK_BYTES = 4096
_TICK_SECONDS = 0.002


class Trickle:
    """The uploads. `lost` has the numbers of those that the other side cut."""

    def __init__(self, target: Target, uploads: int) -> None:
        upload = form(LARGE_BYTES)
        self._body = memoryview(upload.body)
        self._sockets = [target.connect() for _ in range(uploads)]
        for connection in self._sockets:
            connection.sendall(target.head(upload))
            connection.setblocking(False)
        self._offsets = [0] * uploads
        self._chunks_per_second = uploads * BYTES_PER_SECOND / _CHUNK_BYTES
        self.sent_chunks = 0
        self.lost = set[int]()

    def until(self, enough: Callable[[], bool]) -> None:
        """Sends at the fixed rate until `enough()`, which is checked once a tick."""
        per_tick = max(1, round(self._chunks_per_second * _TICK_SECONDS))
        due = time.monotonic()
        while not enough():
            for _ in range(per_tick):
                self._send_next()
            due += per_tick / self._chunks_per_second
            time.sleep(max(0, due - time.monotonic()))

    def _send_next(self) -> None:
        which = self.sent_chunks % len(self._sockets)
        self.sent_chunks += 1
        chunk = self._body[self._offsets[which] :][:_CHUNK_BYTES]
        try:
            self._offsets[which] += self._sockets[which].send(chunk)
        except BlockingIOError:
            return
        except OSError:
            self.lost.add(which)
