"""One line in the log for every request, however it ended, and whoever else is told of it.

No line holds audio, a transcript, a prompt or a key.
"""

import logging
import time

from app.adapters.telemetry.log_formats import Line
from app.adapters.telemetry.log_writer import LineWriter
from app.gateway.ledger_rows import SettlementResult, State
from app.gateway.pipeline import RequestObserver, RequestRecord
from app.gateway.reservation import Admission
from app.gateway.upstream_body import UpstreamBody
from app.units import seconds_of, usd_text

_log = logging.getLogger("audio_gateway.telemetry")


class RequestObservers:
    """Several journals as one. A fault in one of them costs neither the others nor the request anything."""

    def __init__(self, *journals: RequestObserver) -> None:
        self._journals = journals

    def request(self, record: RequestRecord) -> None:
        for journal in self._journals:
            try:
                journal.request(record)
            except Exception:
                _log.exception("a request could not be reported")


class RequestLog:
    """One line for every request, however it ended."""

    def __init__(self, lines: LineWriter, level: int = logging.INFO) -> None:
        """`level` is the lowest that is written, as `logging` numbers them."""
        self._lines = lines
        self._level = level

    def request(self, record: RequestRecord) -> None:
        result = record.account.result if record.account is not None else None
        failed = (record.status or 500) >= 500 or (result is not None and result.state is State.UNKNOWN)
        if self._level > (logging.WARNING if failed else logging.INFO):
            return
        line: Line = {
            "level": "warning" if failed else "info",
            "event": "request",
            "request_id": record.call.id,
            "endpoint": record.call.operation.path,
            "status": record.status,
            "error": (result.error if result is not None else None) or record.error,
        }
        if record.caller is not None:
            line["caller"], line["key_id"] = record.caller.name, record.caller.key_id
        if record.admission is not None:
            line.update(_admitted(record.admission, record))
        elif record.model:
            line["model"] = record.model
        if result is not None and record.account is not None:
            line.update(_ended(result, record.account.form))
        line["total_ms"] = _ms(record.call.began, time.monotonic())
        self._lines.write(line)


def _admitted(admission: Admission, record: RequestRecord) -> Line:
    hold = admission.hold
    return {
        "model": hold.model,
        "upstream": hold.upstream,
        "container": hold.container,
        "hold_usd": usd_text(admission.reservation.bound.cost),
        "admitted_ms": _ms(record.call.began, record.read),
    }


def _ended(result: SettlementResult, form: UpstreamBody) -> Line:
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
        "upstream_ms": _ms(form.connected, form.answered),
    }
    if result.implausible is not None:
        line["implausible_usage"] = result.implausible.document()
    return line


def _ms(begin: float | None, end: float | None) -> int | None:
    """Milliseconds between two moments of the monotonic clock."""
    return None if begin is None or end is None else round((end - begin) * 1000)
