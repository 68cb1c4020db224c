"""One line in the log for every request, however it ended, and whoever else is told of it.

No line holds audio, a transcript, a prompt or a key.
"""

import logging
import time

from app.adapters.telemetry.formats import Line
from app.adapters.telemetry.lines import LineWriter
from app.gateway.accounting import Outcome, State
from app.gateway.admission import Permit
from app.gateway.call import ENDPOINTS
from app.gateway.outbound import OutboundForm
from app.gateway.pipeline import Journal, Trail
from app.units import seconds_of, usd_text

_log = logging.getLogger("audio_gateway.telemetry")


class Journals:
    """Several journals as one. A fault in one of them costs neither the others nor the request anything."""

    def __init__(self, *journals: Journal) -> None:
        self._journals = journals

    def request(self, trail: Trail) -> None:
        for journal in self._journals:
            try:
                journal.request(trail)
            except Exception:
                _log.exception("a request could not be reported")


class RequestJournal:
    """One line for every request, however it ended."""

    def __init__(self, lines: LineWriter, level: int = logging.INFO) -> None:
        """`level` is the lowest that is written, as `logging` numbers them."""
        self._lines = lines
        self._level = level

    def request(self, trail: Trail) -> None:
        outcome = trail.account.outcome if trail.account is not None else None
        failed = (trail.status or 500) >= 500 or (outcome is not None and outcome.state is State.UNKNOWN)
        if self._level > (logging.WARNING if failed else logging.INFO):
            return
        line: Line = {
            "level": "warning" if failed else "info",
            "event": "request",
            "request_id": trail.call.id,
            "endpoint": ENDPOINTS[trail.call.task],
            "status": trail.status,
            "error": (outcome.error if outcome is not None else None) or trail.error,
        }
        if trail.caller is not None:
            line["caller"], line["key_id"] = trail.caller.name, trail.caller.key_id
        if trail.permit is not None:
            line.update(_admitted(trail.permit, trail))
        elif trail.model:
            line["model"] = trail.model
        if outcome is not None and trail.account is not None:
            line.update(_ended(outcome, trail.account.form))
        line["total_ms"] = _ms(trail.call.began, time.monotonic())
        self._lines.write(line)


def _admitted(permit: Permit, trail: Trail) -> Line:
    hold = permit.hold
    return {
        "model": hold.model,
        "upstream": hold.upstream,
        "container": hold.container,
        "hold_usd": usd_text(permit.reservation.bound.cost),
        "admitted_ms": _ms(trail.call.began, trail.read),
    }


def _ended(outcome: Outcome, form: OutboundForm) -> Line:
    tokens = outcome.tokens
    line: Line = {
        "state": outcome.state,
        "source": outcome.source,
        "audio_seconds": seconds_of(outcome.charge.audio),
        "input_tokens": tokens.input if tokens else None,
        "output_tokens": tokens.output if tokens else None,
        "total_tokens": tokens.total if tokens else None,
        "cost_usd": usd_text(outcome.charge.cost),
        "file_bytes": outcome.file_bytes,
        "response_format": outcome.response_format,
        "stream": outcome.stream,
        "upstream_request_id": outcome.upstream_request_id,
        "upstream_ms": _ms(form.connected, form.answered),
    }
    if outcome.implausible is not None:
        line["implausible_usage"] = outcome.implausible.document()
    return line


def _ms(begin: float | None, end: float | None) -> int | None:
    """Milliseconds between two moments of the monotonic clock."""
    return None if begin is None or end is None else round((end - begin) * 1000)
