"""A caller disconnects: measures how soon the upstream notices, as it bills until then."""

import contextlib
import socket
import statistics
import time
from contextlib import closing

from bench.form import LARGE_BYTES, SMALL_BYTES, form
from bench.target import Target, WrongAnswer
from bench.witness import Moment

NEVER, NOTHING_SENT = "never", "nothing sent"

PATIENCE_SECONDS = 5.0
_BEGIN_SECONDS = 2.0
_STEADY_SECONDS = 0.1
_SENT_BYTES = 1_000_000


def gone(target: Target, moment: Moment, times: int) -> dict[str, float | str]:
    """Returns the milliseconds until the upstream notices the disconnect, or a word if it does not notice it once."""
    delays = []
    for _ in range(times):
        delay = _disconnect(target, moment)
        if isinstance(delay, str):
            return {"told_ms": delay}
        delays.append(delay)
    return {"told_ms": statistics.median(delays)}


def _disconnect(target: Target, moment: Moment) -> float | str:
    assert target.witness is not None
    watch = target.witness.watch(moment, _BEGIN_SECONDS + _STEADY_SECONDS + PATIENCE_SECONDS)
    with closing(target.connect()) as connection:
        connection.sendall(_request(target, moment))
        started = watch.started.wait(_BEGIN_SECONDS)
        if not started and moment is not Moment.UPLOAD:
            raise WrongAnswer("the upload did not reach the upstream")
        if moment is Moment.SSE:
            _read_an_event(connection)
        time.sleep(_STEADY_SECONDS)
    disconnected_at = time.monotonic()
    if watch.noticed.wait(PATIENCE_SECONDS):
        return (watch.noticed_at - disconnected_at) * 1000
    return NEVER if watch.started.is_set() else NOTHING_SENT


def _request(target: Target, moment: Moment) -> bytes:
    """Returns a complete small upload, or the beginning of a large one."""
    if moment is Moment.UPLOAD:
        upload = form(LARGE_BYTES)
        return target.head(upload) + upload.body[:_SENT_BYTES]
    upload = form(SMALL_BYTES, stream=moment is Moment.SSE)
    return target.head(upload) + upload.body


def _read_an_event(connection: socket.socket) -> None:
    """Reads an event if one comes in time. A gateway that collects the response relays none before its end."""
    connection.settimeout(_BEGIN_SECONDS)
    with contextlib.suppress(TimeoutError):
        connection.recv(65_536)
