"""Whoever is told of requests and of the ledger's commits, as the settings want it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.adapters.telemetry.journal import Journals, RequestJournal
from app.adapters.telemetry.lines import LineWriter
from app.adapters.telemetry.metrics import LedgerMetrics, RequestMetrics
from app.config import Config, InvalidConfig
from app.errors import Header
from app.gateway.call import Call
from app.gateway.pipeline import Journal, nothing_onward
from app.wire.tracecontext import trace_context

if TYPE_CHECKING:
    from app.adapters.telemetry.traces import Traces


@dataclass(frozen=True, slots=True)
class Observers:
    """`journal` is told of every request; `onward` gives the headers that the provider gets of a request's trace."""

    requests: RequestMetrics
    commits: LedgerMetrics
    traces: "Traces | None"
    journal: Journal
    onward: Callable[[Call], tuple[Header, ...]]

    async def close(self) -> None:
        """Send what is left."""
        if self.traces is not None:
            await self.traces.close()


def observing(settings: Config, lines: LineWriter) -> Observers:
    """InvalidConfig if an extra that the settings need is not installed."""
    requests, traces = RequestMetrics(settings.upstream.name), _traces(settings)
    journals: list[Journal] = [RequestJournal(lines, settings.logs.number)]
    if settings.metrics.enabled:
        journals.append(requests)
    if traces is not None:
        journals.append(traces)
    onward = nothing_onward if traces is None else _context_onward
    return Observers(requests, LedgerMetrics(), traces, Journals(*journals), onward)


def _traces(settings: Config) -> "Traces | None":
    if settings.traces.endpoint is None:
        return None
    try:
        from app.adapters.telemetry.traces import Traces
    except ImportError as error:
        raise InvalidConfig(
            "traces.endpoint: needs the extra otel: pip install '.[otel]' in the source tree"
        ) from error
    return Traces(settings.traces.endpoint)


def _context_onward(call: Call) -> tuple[Header, ...]:
    return trace_context(call.id, call.headers).onward
