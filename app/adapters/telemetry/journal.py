"""One line in the log for every request, however it ended, and whoever else is told of it.

No line holds audio, a transcript, a prompt or a key.
"""

import logging

from app.adapters.telemetry.formats import Line
from app.adapters.telemetry.lines import LineWriter
from app.clock import now_ms
from app.gateway.accounting import Outcome
from app.gateway.admission import Hold
from app.gateway.call import ENDPOINTS
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
        failed = (trail.status or 500) >= 500
        if self._level > (logging.WARNING if failed else logging.INFO):
            return
        outcome = trail.account.outcome if trail.account is not None else None
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
            line.update(_admitted(trail.permit.hold))
        elif trail.model:
            line["model"] = trail.model
        if outcome is not None:
            line.update(_ended(outcome))
        line["total_ms"] = now_ms() - trail.call.received_ms
        self._lines.write(line)


def _admitted(hold: Hold) -> Line:
    return {
        "model": hold.model,
        "upstream": hold.upstream,
        "container": hold.container,
        "hold_usd": usd_text(hold.bound.cost),
        "admitted_ms": hold.admitted_ms - hold.received_ms,
    }


def _ended(outcome: Outcome) -> Line:
    tokens = outcome.tokens
    return {
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
        "upstream_ms": outcome.answered_ms - outcome.sent_ms if outcome.answered_ms and outcome.sent_ms else None,
    }
