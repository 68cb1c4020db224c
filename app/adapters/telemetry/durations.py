"""Where the time of a request went. Its parts follow each other, so that none is measured twice.

    upload      the caller sent, a connection was opened, the provider took the bytes in
    wait        the provider had the whole form, and had not begun to answer
    download    the answer came
    overhead    all the rest until the answer was handed on: what the caller waits longer for having a gateway

Without an answer there is no overhead: what held it up is somebody else's doing, or an error.
"""

from typing import NamedTuple

from app.gateway.request_record import AttemptRecord, RequestRecord


class Durations(NamedTuple):
    """In seconds."""

    overhead: float | None
    upload: float
    wait: float
    download: float


def durations(record: RequestRecord, attempt: AttemptRecord, now: float) -> Durations:
    """Returns those of a request that was admitted and ended `now`, in seconds of the monotonic clock."""
    settled = record.settled or now
    waited = record.request.progress.waited
    upload = waited + _between(attempt.requested, attempt.connected or settled) + attempt.sending
    wait = _between(attempt.released, attempt.responded or settled)
    overhead = None
    if record.delivering is not None:
        download = _between(attempt.responded, min(settled, record.delivering))
        overhead = max(0.0, record.delivering - record.request.began - upload - wait - download)
    return Durations(overhead, upload, wait, _between(attempt.responded, settled))


def _between(begin: float | None, end: float | None) -> float:
    return max(0.0, end - begin) if begin is not None and end is not None else 0.0
