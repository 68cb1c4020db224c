"""Prometheus metrics of requests and of the ledger's commits. docs/metrics.md describes each one.

The number of series is bounded, whatever callers send. Models that are not in the catalogue share one label value, and
so do callers without a valid key, and callers after the first thousand.
"""

import time
from collections.abc import Callable, Iterable
from functools import partial

from prometheus_client import CollectorRegistry, Gauge, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.adapters.telemetry.durations import durations
from app.adapters.telemetry.metric_series import Counter, CounterSeries, Histogram
from app.gateway.caller import Caller
from app.gateway.ledger_rows import SettlementResult, State
from app.gateway.request_record import AttemptRecord, RequestRecord
from app.operations import OPERATIONS
from app.units import NANO_PER_USD, Tokens, seconds_of

NAMESPACE = "audio_gateway"
MAX_CALLERS = 1000
UNKNOWN, OTHER = "(unknown)", "(other)"  # no caller and no model can have such a name

# Upper bounds of buckets, in seconds: for whole requests, and for the gateway's own part of them.
_LONG = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
_SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_WRITES = (1, 2, 5, 10, 25, 50, 100, 250, 1000)

_KEY_TROUBLE = {"upstream_auth_failed": "refused", "upstream_out_of_credit": "out_of_credit"}
_UPSTREAM_ERRORS = (
    "upstream_auth_failed",
    "upstream_bad_response",
    "upstream_cut",
    "upstream_error",
    "upstream_out_of_credit",
    "upstream_rate_limited",
    "upstream_redirect",
    "upstream_timeout",
    "upstream_unreachable",
)
_TOKEN_KINDS = ("input", "input_audio", "input_text", "output")


class RequestMetrics(Collector):
    """Counts each request when it has ended.

    Series are looked up once for each new combination of label values and kept.
    """

    def __init__(self, upstream: str) -> None:
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        labels = ("caller", "model", "endpoint", "status", "error")
        self._requests = counter(f"{NAMESPACE}_requests", "Requests that ended", labels)
        self._request_series: dict[tuple[str, str, str, int, str], CounterSeries] = {}
        outcomes = counter(f"{NAMESPACE}_outcomes", "Ends of admitted requests", ("state",))
        self._outcomes: dict[State, CounterSeries] = {
            state: outcomes.labels(state.value) for state in State if state is not State.HELD
        }
        self._received = counter(f"{NAMESPACE}_received_bytes", "Bytes of request bodies, from callers").labels()
        self._forwarded = counter(f"{NAMESPACE}_forwarded_bytes", "Bytes of forms, to the provider").labels()
        self._answered = counter(
            f"{NAMESPACE}_answered_bytes", "Bytes of the provider's responses, to callers"
        ).labels()
        self._charges = _Charges(self._registry)
        self._durations = _Durations(self._registry)
        self._upstream = _UpstreamMetrics(self._registry, upstream)
        self.callers: dict[str, Caller] = {}

    def observe(self, record: RequestRecord) -> None:
        now, request, result, status = time.monotonic(), record.request, record.result, record.status or 500
        error = (result.error if result is not None else None) or record.error or ""
        if record.status is None:
            error = "internal_error"
        caller = UNKNOWN if record.caller is None else self._caller_label(record.caller)
        model = record.hold.model if record.hold is not None else record.model or UNKNOWN
        self._count(caller, model, request.operation.path, status, error)
        self._received.inc(request.progress.received)
        self._durations.observe_request(request.operation.path, now - request.began)
        if record.attempt is not None:
            self._forwarded.inc(record.attempt.sent_bytes)
            self._answered.inc(record.response_bytes)
            self._durations.observe_parts(record, record.attempt, now)
            self._upstream.count(error, status)
        if result is not None:
            self._outcomes[result.state].inc()
            if result.implausible is not None:
                self._upstream.implausible_usage.inc()
            if result.state is not State.RELEASED:
                self._charges.add(caller, model, result)

    def collect(self) -> Iterable[Metric]:
        return self._registry.collect()

    def _count(self, *labels: *tuple[str, str, str, int, str]) -> None:
        series = self._request_series.get(labels)
        if series is None:
            series = self._request_series[labels] = self._requests.labels(*labels)
        series.inc()

    def _caller_label(self, caller: Caller) -> str:
        """Returns the caller's name as a label value. Keeps the caller's policy as the latest request has it."""
        if caller.name not in self.callers and len(self.callers) >= MAX_CALLERS:
            return OTHER
        self.callers[caller.name] = caller
        return caller.name


class _Charges:
    """What each caller's use of each model cost: money, audio, tokens."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, labels = partial(Counter, registry=registry), ("caller", "model")
        self._cost = counter(f"{NAMESPACE}_cost_usd", "Charged, in US dollars", labels)
        self._audio = counter(f"{NAMESPACE}_audio_seconds", "Charged seconds of audio", labels)
        self._tokens = counter(f"{NAMESPACE}_tokens", "Tokens, as the provider reports them", (*labels, "kind"))
        self._series: dict[tuple[str, str], tuple[CounterSeries, CounterSeries, dict[str, CounterSeries]]] = {}

    def add(self, caller: str, model: str, result: SettlementResult) -> None:
        key = caller, model
        series = self._series.get(key)
        if series is None:
            tokens = {kind: self._tokens.labels(*key, kind) for kind in _TOKEN_KINDS}
            series = self._series[key] = self._cost.labels(*key), self._audio.labels(*key), tokens
        cost, audio, tokens = series
        cost.inc(result.charge.cost / NANO_PER_USD)
        audio.inc(seconds_of(result.charge.audio))
        if result.tokens is not None:
            for kind, count in tokens_by_kind(result.tokens).items():
                tokens[kind].inc(count)


def tokens_by_kind(tokens: Tokens) -> dict[str, int]:
    """Returns each token under one kind. `input` are the input tokens that the provider reports as neither audio nor
    text.
    """
    audio, text = tokens.audio or 0, tokens.text or 0
    unsplit = max(0, tokens.input - audio - text)
    return {"input": unsplit, "input_audio": audio, "input_text": text, "output": tokens.output}


class _Durations:
    """Histograms of the time that requests and their parts take."""

    def __init__(self, registry: CollectorRegistry) -> None:
        histogram = partial(Histogram, registry=registry)
        requests = histogram(
            f"{NAMESPACE}_request_duration_seconds", "From a request's head to its end", ("endpoint",), buckets=_LONG
        )
        self._requests = {operation.path: requests.labels(operation.path) for operation in OPERATIONS.values()}
        parts = histogram(
            f"{NAMESPACE}_transfer_duration_seconds", "Transfers, and the provider's time", ("part",), buckets=_LONG
        )
        self._upload, self._wait, self._download = (parts.labels(part) for part in ("upload", "wait", "download"))
        self._overhead = histogram(
            f"{NAMESPACE}_overhead_seconds", "What the gateway adds to a request's time", buckets=_SHORT
        ).labels()

    def observe_request(self, endpoint: str, seconds: float) -> None:
        self._requests[endpoint].observe(seconds)

    def observe_parts(self, record: RequestRecord, attempt: AttemptRecord, now: float) -> None:
        parts = durations(record, attempt, now)
        if parts.overhead is not None:
            self._overhead.observe(parts.overhead)
        self._upload.observe(parts.upload)
        self._wait.observe(parts.wait)
        self._download.observe(parts.download)


class _UpstreamMetrics:
    """Failures of the upstream, and whether it accepts its key."""

    def __init__(self, registry: CollectorRegistry, upstream: str) -> None:
        counter = partial(Counter, registry=registry)
        failures = counter(f"{NAMESPACE}_upstream_failures", "Requests that the provider failed", ("upstream", "error"))
        self._failures = {code: failures.labels(upstream, code) for code in _UPSTREAM_ERRORS}
        key_trouble = Gauge(
            "upstream_key_trouble",
            "1 from when the provider refuses our key until its next success",
            ("upstream", "reason"),
            namespace=NAMESPACE,
            registry=registry,
        )
        self._key_trouble = {code: key_trouble.labels(upstream, reason) for code, reason in _KEY_TROUBLE.items()}
        self._has_key_trouble = False
        self.implausible_usage = counter(
            f"{NAMESPACE}_upstream_implausible_usage", "Responses whose usage is not plausible", ("upstream",)
        ).labels(upstream)

    def count(self, error: str, status: int) -> None:
        """Counts a failure of the upstream. Trouble with its key lasts until a success."""
        if error in self._failures:
            self._failures[error].inc()
        if error in self._key_trouble:
            self._key_trouble[error].set(1)
            self._has_key_trouble = True
        elif status < 300 and self._has_key_trouble:
            for gauge in self._key_trouble.values():
                gauge.set(0)
            self._has_key_trouble = False


class LedgerMetrics(Collector):
    """Times the ledger's transactions. The ledger's writer thread calls `committed`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        histogram = partial(Histogram, registry=self._registry)
        self._seconds = histogram(
            f"{NAMESPACE}_ledger_commit_duration_seconds", "Time of a transaction", buckets=_SHORT
        ).labels()
        self._writes = histogram(
            f"{NAMESPACE}_ledger_commit_writes", "Writes that shared a transaction", buckets=_WRITES
        ).labels()

    def committed(self, writes: int, seconds: float) -> None:
        self._seconds.observe(seconds)
        self._writes.observe(writes)

    def collect(self) -> Iterable[Metric]:
        return self._registry.collect()


def scrape(*collectors: Collector) -> Callable[[], tuple[bytes, str]]:
    """Returns a function that returns the text of a scrape and its content type, with metrics of the process."""
    registry = CollectorRegistry()
    for collector_class in (ProcessCollector, PlatformCollector, GCCollector):
        collector_class(registry=registry)
    for collector in collectors:
        registry.register(collector)
    return lambda: (generate_latest(registry), CONTENT_TYPE_LATEST)
