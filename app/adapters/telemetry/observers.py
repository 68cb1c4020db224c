"""The observers of requests and of the ledger's commits that the settings ask for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.adapters.telemetry.log_writer import LogQueue
from app.adapters.telemetry.metrics import LedgerMetrics, RequestMetrics
from app.adapters.telemetry.request_log import RequestLog, RequestObservers
from app.config import Config, InvalidConfig
from app.errors import Header
from app.gateway.inbound_request import InboundRequest
from app.gateway.pipeline import no_trace_headers
from app.gateway.ports import RequestObserver

if TYPE_CHECKING:
    from app.adapters.telemetry.traces import Traces


@dataclass(frozen=True, slots=True)
class Observers:
    """`observer` observes every request; `trace_headers` returns the headers that carry its trace to the upstream."""

    requests: RequestMetrics
    commits: LedgerMetrics
    traces: "Traces | None"
    observer: RequestObserver
    trace_headers: Callable[[InboundRequest], tuple[Header, ...]]

    async def close(self) -> None:
        """Exports the remaining spans."""
        if self.traces is not None:
            await self.traces.close()


def build_observers(settings: Config, log_queue: LogQueue) -> Observers:
    """Returns the observers. Raises InvalidConfig if the settings need an extra that is not installed."""
    requests, traces = RequestMetrics(settings.upstream.name), _build_traces(settings)
    observers: list[RequestObserver] = [RequestLog(log_queue, settings.logs.number)]
    if settings.metrics.enabled:
        observers.append(requests)
    if traces is not None:
        observers.append(traces)
    trace_headers = no_trace_headers if traces is None else traces.trace_headers
    return Observers(requests, LedgerMetrics(), traces, RequestObservers(*observers), trace_headers)


def _build_traces(settings: Config) -> "Traces | None":
    if settings.traces.endpoint is None:
        return None
    try:
        from app.adapters.telemetry.traces import Traces
    except ImportError as error:
        raise InvalidConfig(
            "traces.endpoint: needs the extra otel: pip install '.[otel]' in the source tree"
        ) from error
    return Traces(settings.traces.endpoint)
