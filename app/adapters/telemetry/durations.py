"""Where the time of a request went. Its parts follow each other, so that none is measured twice.

    upload      the caller sent, a connection was opened, the provider took the bytes in
    wait        the provider had the whole form, and had not begun to answer
    download    the answer came
    overhead    all the rest until the answer was handed on: what the caller waits longer for having a gateway

Without an answer there is no overhead: what held it up is somebody else's doing, or an error.
"""

from typing import NamedTuple

from app.gateway.pipeline import RequestRecord
from app.gateway.settlement import Settlement


class Durations(NamedTuple):
    """In seconds."""

    overhead: float | None
    upload: float
    wait: float
    download: float


def durations(record: RequestRecord, account: Settlement, now: float) -> Durations:
    """Those of a request that was admitted and ended `now`, in seconds of the monotonic clock."""
    form, closed = account.form, account.closed or now
    upload = record.call.progress.waited + _between(form.asked, form.connected or closed) + form.pushed
    wait = _between(form.released, form.answered or closed)
    overhead = None
    if record.replied is not None:
        before_reply = _between(form.answered, min(closed, record.replied))
        overhead = max(0.0, record.replied - record.call.began - upload - wait - before_reply)
    return Durations(overhead, upload, wait, _between(form.answered, closed))


def _between(begin: float | None, end: float | None) -> float:
    return max(0.0, end - begin) if begin is not None and end is not None else 0.0
