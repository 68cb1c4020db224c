"""Prometheus: what the parts of the gateway say of themselves at the moment when it is asked for."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app import __version__
from app.adapters.server.uvicorn_server import ServerStatus
from app.adapters.spool import SpoolFolder
from app.adapters.sqlite import LedgerWriter
from app.adapters.telemetry.log_writer import LineWriter
from app.adapters.telemetry.metric_families import counter, gauge
from app.adapters.telemetry.metrics import RequestMetrics
from app.gateway.admission_control import AdmissionControl
from app.gateway.budgets import Budgets
from app.policy.quota import Quota


@dataclass(frozen=True, slots=True)
class Gauges(Collector):
    """The parts, each read once for each scrape. `callers` are those whose budgets are told."""

    ready: Callable[[], bool]
    server_status: ServerStatus
    lines: LineWriter
    admission_control: AdmissionControl
    budgets: Budgets
    spools: SpoolFolder
    response_memory: Quota
    ledger: LedgerWriter
    ledger_path: Path
    requests: RequestMetrics

    def collect(self) -> Iterator[Metric]:
        yield _one("ready", "1 while /readyz says that it is", self.ready())
        yield _one("connections", "Open connections of callers", self.server_status.connections)
        yield _one("requests_in_flight", "Requests of known callers under way", self.admission_control.in_flight)
        yield _one("holds", "Requests whose most is held in budgets", self.budgets.held)
        yield _one("spool_bytes", "Bytes of uploads kept until their model is known", self.spools.used_bytes)
        yield gauge("buffer_bytes", "Memory that buffers take of max_buffer_bytes", ("kind",), self._buffers())
        yield _one("ledger_writable", "0 since a transaction of the ledger failed", self.ledger.writable)
        yield _one("ledger_late_outcomes", "Outcomes that could not be written yet", self.ledger.late)
        yield counter("log_lines_dropped", "Lines that the log's sink did not take", (), {(): self.lines.dropped})
        yield gauge("build_info", "Always 1", ("version",), {(__version__,): 1})
        yield self._budgets()
        yield from self._disk()

    def _buffers(self) -> dict[tuple[str], int]:
        return {
            ("text_fields",): self.admission_control.text.used,
            ("answers",): self.response_memory.used,
            ("uploads",): self.spools.memory_used,
        }

    def _budgets(self) -> Metric:
        now_ms = time.time_ns() // 1_000_000
        used = {
            (caller.name, str(budget)): share
            for caller in list(self.requests.callers.values())
            for budget, share in self.budgets.used(caller, now_ms)
        }
        told = "How much of a budget is spent or held: 1 is all of it"
        return gauge("budget_used_ratio", told, ("caller", "budget"), used)

    def _disk(self) -> Iterator[Metric]:
        path = self.ledger_path
        try:
            usage = shutil.disk_usage(path.parent)
            files = (path, path.with_name(f"{path.name}-wal"))
            size = sum(file.stat().st_size for file in files if file.exists())
        except OSError:
            return
        yield _one("disk_free_bytes", "Free on the ledger's disk", usage.free)
        yield _one("disk_size_bytes", "Size of the ledger's disk", usage.total)
        yield _one("ledger_size_bytes", "Size of the ledger, with its write-ahead log", size)


def _one(name: str, told: str, value: float) -> Metric:
    return gauge(name, told, (), {(): value})
