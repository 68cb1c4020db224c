"""What the gateway tells about itself. None of it may delay a request, or fail one.

    lines      the log's writer, off the event loop
    formats    a line as JSON, or for people
    journal    one line for every request
    durations  where the time of a request went
    metrics    Prometheus: what is counted as requests end
    gauges     Prometheus: what is read from the parts when it is asked for
    traces     OpenTelemetry: one span a stage (extra `otel`, imported only when it is on)
    observers  whoever is told of requests, as the settings want it

No line, metric or span holds audio, a transcript, a prompt or a key.
"""

from app.adapters.telemetry.gauges import Gauges
from app.adapters.telemetry.log_formats import chosen
from app.adapters.telemetry.log_writer import MAX_WAITING_LINES, LineWriter, LogHandler
from app.adapters.telemetry.metrics import RequestMetrics, scrape
from app.adapters.telemetry.observers import Observers, build_observers
from app.adapters.telemetry.request_log import RequestObservers

__all__ = [
    "MAX_WAITING_LINES",
    "Gauges",
    "LineWriter",
    "LogHandler",
    "Observers",
    "RequestMetrics",
    "RequestObservers",
    "build_observers",
    "chosen",
    "scrape",
]
