"""Divides the time of a request into parts that follow each other, so that no moment counts twice.

    upload      the caller sends, a connection opens, the upstream takes the bytes
    wait        from the complete form to the start of the response
    download    the response
    overhead    everything else until the response is delivered: the time that the gateway adds

Without a response there is no overhead: the delay comes from the caller, the upstream or an error.
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
    """Returns the durations of an admitted request that ends at `now`, in seconds of the monotonic clock."""
    settled = record.settled or now
    waited = record.request.progress.waited
    upload = waited + _between(attempt.requested, attempt.connected or settled) + attempt.sending
    wait = _between(attempt.released, attempt.responded or settled)
    overhead = None
    if record.delivering is not None:
        download = _between(attempt.responded, min(settled, record.delivering))
        overhead = max(0.0, record.delivering - record.request.began - upload - wait - download)
    return Durations(overhead, upload, wait, _between(attempt.responded, settled))


def _between(start: float | None, end: float | None) -> float:
    return max(0.0, end - start) if start is not None and end is not None else 0.0
