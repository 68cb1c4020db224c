"""One line in the log for every request, however it ended, and the observers of requests as one.

No line holds audio, a transcript, a prompt or a key.
"""

import logging
import time

from app.adapters.telemetry.log_formats import Line
from app.adapters.telemetry.log_writer import LogQueue
from app.gateway.ledger_rows import Hold, SettlementResult, State
from app.gateway.ports import RequestObserver
from app.gateway.request_record import AttemptRecord, RequestRecord
from app.units import seconds_of, usd_text

_log = logging.getLogger("audio_gateway.telemetry")


class RequestObservers:
    """Several observers as one. A fault in one of them affects neither the others nor the request."""

    def __init__(self, *observers: RequestObserver) -> None:
        self._observers = observers

    def observe(self, record: RequestRecord) -> None:
        for observer in self._observers:
            try:
                observer.observe(record)
            except Exception:
                _log.exception("a request could not be reported")


class RequestLog:
    """One line for every request, however it ended."""

    def __init__(self, log_queue: LogQueue, level: int = logging.INFO) -> None:
        """`level` is the lowest level that is written, as `logging` numbers them."""
        self._log_queue = log_queue
        self._level = level

    def observe(self, record: RequestRecord) -> None:
        result = record.result
        failed = (record.status or 500) >= 500 or (result is not None and result.state is State.UNKNOWN)
        if self._level > (logging.WARNING if failed else logging.INFO):
            return
        line: Line = {
            "level": "warning" if failed else "info",
            "event": "request",
            "request_id": record.request.id,
            "endpoint": record.request.operation.path,
            "status": record.status,
            "error": (result.error if result is not None else None) or record.error,
        }
        if record.caller is not None:
            line["caller"], line["key_id"] = record.caller.name, record.caller.key_id
        if record.hold is not None:
            line.update(_admitted(record.hold, record))
        elif record.model:
            line["model"] = record.model
        if result is not None and record.attempt is not None:
            line.update(_ended(result, record.attempt))
        line["total_ms"] = _ms(record.request.began, time.monotonic())
        self._log_queue.write(line)


def _admitted(hold: Hold, record: RequestRecord) -> Line:
    bound = hold.bound if record.result is None else record.result.bound
    return {
        "model": hold.model,
        "upstream": hold.upstream,
        "container": hold.container,
        "hold_usd": usd_text(bound.cost),
        "admitted_ms": _ms(record.request.began, record.parsed),
    }


def _ended(result: SettlementResult, attempt: AttemptRecord) -> Line:
    tokens = result.tokens
    line: Line = {
        "state": result.state,
        "source": result.source,
        "audio_seconds": seconds_of(result.charge.audio),
        "input_tokens": tokens.input if tokens else None,
        "output_tokens": tokens.output if tokens else None,
        "total_tokens": tokens.total if tokens else None,
        "cost_usd": usd_text(result.charge.cost),
        "file_bytes": result.file_bytes,
        "response_format": result.response_format,
        "stream": result.stream,
        "upstream_request_id": result.upstream_request_id,
        "upstream_ms": _ms(attempt.connected, attempt.responded),
    }
    if result.implausible is not None:
        line["implausible_usage"] = result.implausible.document()
    return line


def _ms(begin: float | None, end: float | None) -> int | None:
    """Returns the milliseconds between two moments of the monotonic clock, None if one is missing."""
    return None if begin is None or end is None else round((end - begin) * 1000)
