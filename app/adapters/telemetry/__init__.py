"""What the gateway reports about itself. None of it delays a request or makes it fail.

    log_writer     the log: a queue of lines, and the thread that writes them
    log_formats    a line as JSON, or as words for people
    request_log    one line for every request
    durations      how the time of a request divides into parts
    metrics        Prometheus: what is counted as requests end
    gauges         Prometheus: what is read from the parts at each scrape
    traces         OpenTelemetry: one span a stage (extra `otel`, imported only where traces are on)
    trace_context  the headers that say which trace a request belongs to
    observers      the observers of requests that the settings ask for

No line, metric or span holds audio, a transcript, a prompt or a key.
"""

from app.adapters.telemetry.gauges import Gauges
from app.adapters.telemetry.log_formats import select_format
from app.adapters.telemetry.log_writer import MAX_QUEUED_LINES, LogQueue, LogWriter
from app.adapters.telemetry.metrics import RequestMetrics, scrape
from app.adapters.telemetry.observers import Observers, build_observers
from app.adapters.telemetry.request_log import RequestObservers

__all__ = [
    "MAX_QUEUED_LINES",
    "Gauges",
    "LogQueue",
    "LogWriter",
    "Observers",
    "RequestMetrics",
    "RequestObservers",
    "build_observers",
    "scrape",
    "select_format",
]
