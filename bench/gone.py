"""A caller that leaves: how soon the upstream is told, which pays for every second that it works for nobody."""

import contextlib
import socket
import statistics
import time
from contextlib import closing

from bench.form import LARGE_BYTES, SMALL_BYTES, form
from bench.target import Target, WrongAnswer
from bench.witness import Moment

NEVER, NOT_BEGUN = "never", "nothing sent"

PATIENCE_SECONDS = 5.0
_BEGIN_SECONDS = 2.0
_STEADY_SECONDS = 0.1
_SENT_BYTES = 1_000_000


def gone(target: Target, moment: Moment, times: int) -> dict[str, float | str]:
    """Milliseconds from the caller's leaving to the upstream's knowing, or the word for it if it is not told once."""
    told = []
    for _ in range(times):
        once = _leave(target, moment)
        if isinstance(once, str):
            return {"told_ms": once}
        told.append(once)
    return {"told_ms": statistics.median(told)}


def _leave(target: Target, moment: Moment) -> float | str:
    assert target.witness is not None
    watch = target.witness.watch(moment, _BEGIN_SECONDS + _STEADY_SECONDS + PATIENCE_SECONDS)
    with closing(target.connect()) as connection:
        connection.sendall(_request(target, moment))
        begun = watch.begun.wait(_BEGIN_SECONDS)
        if not begun and moment is not Moment.UPLOAD:
            raise WrongAnswer("the upload did not reach the upstream")
        if moment is Moment.SSE:
            _read_an_event(connection)
        time.sleep(_STEADY_SECONDS)
    left = time.monotonic()
    if watch.told.wait(PATIENCE_SECONDS):
        return (watch.told_at - left) * 1000
    return NEVER if watch.begun.is_set() else NOT_BEGUN


def _request(target: Target, moment: Moment) -> bytes:
    """All of a small upload, or the beginning of a large one."""
    if moment is Moment.UPLOAD:
        upload = form(LARGE_BYTES)
        return target.head(upload) + upload.body[:_SENT_BYTES]
    upload = form(SMALL_BYTES, stream=moment is Moment.SSE)
    return target.head(upload) + upload.body


def _read_an_event(connection: socket.socket) -> None:
    """Not all gateways relay events as they come; the caller of one that does not leaves without any."""
    connection.settimeout(_BEGIN_SECONDS)
    with contextlib.suppress(TimeoutError):
        connection.recv(65_536)
