"""Prometheus metrics that are read from the gateway's parts at each scrape."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app import __version__
from app.adapters.server.uvicorn_server import ServerStatus
from app.adapters.spool import SpoolFolder
from app.adapters.sqlite import LedgerWriter
from app.adapters.telemetry.log_writer import LogQueue
from app.adapters.telemetry.metrics import NAMESPACE, RequestMetrics
from app.gateway.admission_control import AdmissionControl
from app.gateway.budgets import Budgets
from app.policy.quota import Quota


@dataclass(frozen=True, slots=True)
class Gauges(Collector):
    """The parts, each read once a scrape. `requests` knows the callers whose budgets are shown."""

    ready: Callable[[], bool]
    server_status: ServerStatus
    log_queue: LogQueue
    admission_control: AdmissionControl
    budgets: Budgets
    spools: SpoolFolder
    response_memory: Quota
    ledger: LedgerWriter
    ledger_path: Path
    requests: RequestMetrics

    def collect(self) -> Iterator[Metric]:
        yield _gauge("ready", "1 while /readyz reports that the gateway is ready", self.ready())
        yield _gauge("connections", "Open connections of callers", self.server_status.connections)
        yield _gauge("requests_in_flight", "Requests of known callers in progress", self.admission_control.in_flight)
        yield _gauge("holds", "Requests with a reservation in budgets", self.budgets.held)
        yield _gauge("spool_bytes", "Bytes of uploads kept until their model is known", self.spools.used_bytes)
        yield _gauges("buffer_bytes", "Memory that buffers use of max_buffer_bytes", ("kind",), self._buffers())
        yield _gauge("ledger_writable", "0 after a transaction of the ledger failed", self.ledger.writable)
        yield _gauge("ledger_late_outcomes", "Settlements that are not written yet", self.ledger.unwritten)
        yield _counter("log_lines_dropped", "Lines that the log could not write", self.log_queue.dropped)
        yield _gauges("build_info", "Always 1", ("version",), {(__version__,): 1})
        yield self._budgets()
        yield from self._disk()

    def _buffers(self) -> dict[tuple[str, ...], float]:
        return {
            ("text_fields",): self.admission_control.text.used,
            ("answers",): self.response_memory.used,
            ("uploads",): self.spools.memory_used,
        }

    def _budgets(self) -> Metric:
        now_ms = time.time_ns() // 1_000_000
        used: dict[tuple[str, ...], float] = {
            (caller.name, str(budget)): share
            for caller in list(self.requests.callers.values())
            for budget, share in self.budgets.used(caller, now_ms)
        }
        description = "Share of a budget that is spent or reserved: 1 is all of it"
        return _gauges("budget_used_ratio", description, ("caller", "budget"), used)

    def _disk(self) -> Iterator[Metric]:
        path = self.ledger_path
        try:
            usage = shutil.disk_usage(path.parent)
            files = (path, path.with_name(f"{path.name}-wal"))
            size = sum(file.stat().st_size for file in files if file.exists())
        except OSError:
            return
        yield _gauge("disk_free_bytes", "Free on the ledger's disk", usage.free)
        yield _gauge("disk_size_bytes", "Size of the ledger's disk", usage.total)
        yield _gauge("ledger_size_bytes", "Size of the ledger, with its write-ahead log", size)


def _gauge(name: str, description: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{NAMESPACE}_{name}", description, float(value))


def _gauges(name: str, description: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> Metric:
    """Returns a gauge with one series for each key of `values`, which holds the values of the labels."""
    family = GaugeMetricFamily(f"{NAMESPACE}_{name}", description, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, float(value))
    return family


def _counter(name: str, description: str, value: float) -> Metric:
    return CounterMetricFamily(f"{NAMESPACE}_{name}", description, float(value))
