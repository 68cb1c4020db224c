"""Streamed responses: measures the time from the upstream's send to the client's read of each event, on one clock."""

import re
import selectors
import statistics
import time
from dataclasses import dataclass, field

from bench.form import SMALL_BYTES, form
from bench.target import TIMEOUT_SECONDS, Target, WrongAnswer

_STAMP = re.compile(rb"(t|end)=(\d+) ")
_EVENT_SECONDS = 0.020
_READ_BYTES = 65_536
_TURN_SECONDS = 0.0005


@dataclass
class _Delays:
    """In milliseconds."""

    first: list[float] = field(default_factory=list)
    every: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)


class _Stream:
    """One streamed request."""

    def __init__(self, target: Target, delays: _Delays) -> None:
        upload = form(SMALL_BYTES, stream=True)
        self.socket = target.connect()
        self.socket.sendall(target.head(upload, close=True) + upload.body)
        self.socket.setblocking(False)
        self._delays = delays
        self._unread = b""
        self._has_first = False
        self._ended = False

    def read(self) -> bool:
        """Reads what has arrived. Returns whether the stream has ended."""
        data = self.socket.recv(_READ_BYTES)
        now = time.monotonic_ns()
        self._unread += data
        for match in _STAMP.finditer(self._unread):
            self._note(match[1] == b"end", (now - int(match[2])) / 1e6)
        complete = self._unread.endswith(b"0\r\n\r\n")
        if cut := self._unread.rfind(b" ") + 1:
            self._unread = self._unread[cut:]
        if data and not (self._ended and complete):
            return False
        if not self._ended:
            raise WrongAnswer("a stream without its end")
        return True

    def _note(self, last: bool, delay: float) -> None:
        if last:
            self._ended = True
            self._delays.last.append(delay)
            return
        if not self._has_first:
            self._has_first = True
            self._delays.first.append(delay)
        self._delays.every.append(delay)


def sse(target: Target, streams: int, rounds: int) -> dict[str, float]:
    """Runs `rounds` rounds of concurrent streams. Their starts spread evenly over the time between two events."""
    delays = _Delays()
    cpu = target.cpu_seconds()
    for _ in range(rounds):
        _round(target, streams, delays)
    centiles = statistics.quantiles(delays.every, n=100)
    figures = {
        "first_ms": statistics.median(delays.first),
        "every_ms": centiles[49],
        "p99_ms": centiles[98],
        "last_ms": statistics.median(delays.last),
    }
    if target.meter:
        figures["cpu_ms"] = (target.cpu_seconds() - cpu) / (streams * rounds) * 1000
    return figures


def _round(target: Target, streams: int, delays: _Delays) -> None:
    """Starts each stream at its time, and reads all to their ends."""
    began = time.monotonic()
    starts = [began + _EVENT_SECONDS * number / streams for number in range(streams)]
    with selectors.DefaultSelector() as selector:
        try:
            while starts or selector.get_map():
                if time.monotonic() > began + TIMEOUT_SECONDS:
                    raise WrongAnswer("a stream did not end")
                if starts and time.monotonic() >= starts[0]:
                    starts.pop(0)
                    stream = _Stream(target, delays)
                    selector.register(stream.socket, selectors.EVENT_READ, stream)
                _read_ready(selector, _TURN_SECONDS if starts else 1)
        finally:
            for key in list(selector.get_map().values()):
                key.data.socket.close()


def _read_ready(selector: selectors.BaseSelector, seconds: float) -> None:
    """Reads the sockets that have data, and closes ended streams."""
    for key, _ in selector.select(seconds):
        stream = key.data
        if stream.read():
            selector.unregister(stream.socket)
            stream.socket.close()
