"""Prometheus: what is counted as requests end and as the ledger commits. docs/metrics.md says what each one means.

Series are bounded, whatever callers send: a model that is not in the catalogue, and a caller who has shown no good key,
have one label value each, and callers beyond the first thousand share one.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.adapters.telemetry.durations import durations
from app.adapters.telemetry.metric_families import Distribution, counter, gauge, histogram
from app.gateway.caller import Caller
from app.gateway.ledger_rows import SettlementResult, State
from app.gateway.pipeline import RequestRecord
from app.gateway.settlement import Settlement
from app.operations import OPERATIONS
from app.policy.task import Task
from app.units import NANO_PER_USD, Tokens, seconds_of

MAX_CALLERS = 1000
UNKNOWN, OTHER = "(unknown)", "(other)"  # no caller can have such a name

# Upper ends of buckets in seconds: a whole request, and what of it is the gateway's own.
_LONG = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
_SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_WRITES = (1, 2, 5, 10, 25, 50, 100, 250, 1000)

_KEY_TROUBLE = {"upstream_auth_failed": "refused", "upstream_out_of_credit": "out_of_credit"}
_FAILURES = (
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


@dataclass(slots=True)
class Charged:
    """What one caller's use of one model came to."""

    nano_usd: int = 0
    audio_ms: int = 0
    input: int = 0
    input_audio: int = 0
    input_text: int = 0
    output: int = 0

    def add(self, result: SettlementResult) -> None:
        self.nano_usd += result.charge.cost
        self.audio_ms += result.charge.audio
        if result.tokens is not None:
            self._add_tokens(result.tokens)

    def _add_tokens(self, tokens: Tokens) -> None:
        """Each token once: `input` is what the provider did not split."""
        audio, text = tokens.audio or 0, tokens.text or 0
        self.input_audio += audio
        self.input_text += text
        self.input += max(0, tokens.input - audio - text)
        self.output += tokens.output


class RequestMetrics(Collector):
    """A journal that counts. It is written on the event loop; a scrape may read it from any thread."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._requests: defaultdict[tuple[str, str, Task, int, str], int] = defaultdict(int)
        self._charged: defaultdict[tuple[str, str], Charged] = defaultdict(Charged)
        self._outcomes: dict[State, int] = {state: 0 for state in State if state is not State.HELD}
        self._failures = dict.fromkeys(_FAILURES, 0)
        self._implausible = 0
        self._key_trouble: set[str] = set()
        self._durations = {task: Distribution(*_LONG) for task in OPERATIONS}
        self._upload, self._wait, self._download = Distribution(*_LONG), Distribution(*_LONG), Distribution(*_LONG)
        self._overhead = Distribution(*_SHORT)
        self._received = self._forwarded = self._answered = 0
        self.callers: dict[str, Caller] = {}

    def request(self, record: RequestRecord) -> None:
        now, call, account, status = time.monotonic(), record.call, record.account, record.status or 500
        result = account.result if account is not None else None
        error = (result.error if result is not None else None) or record.error or ""
        if record.status is None:
            error = "internal_error"
        caller = UNKNOWN if record.caller is None else self._known(record.caller)
        model = record.admission.hold.model if record.admission is not None else record.model or UNKNOWN
        self._requests[caller, model, call.operation.task, status, error] += 1
        self._durations[call.operation.task].observe(now - call.began)
        self._received += call.progress.received
        if account is not None:
            self._observe_exchange(record, account, now)
            self._observe_upstream(error, status)
        if result is not None:
            self._outcomes[result.state] += 1
            self._implausible += result.implausible is not None
            if result.state is not State.RELEASED:
                self._charged[caller, model].add(result)

    def collect(self) -> Iterator[Metric]:
        labels = ("caller", "model", "endpoint", "status", "error")
        requests = {
            (caller, model, OPERATIONS[task].path, str(status), error): float(number)
            for (caller, model, task, status, error), number in list(self._requests.items())
        }
        outcomes = {(state.value,): float(number) for state, number in self._outcomes.items()}
        yield counter("requests", "Requests that ended", labels, requests)
        yield counter("outcomes", "Ends of admitted requests", ("state",), outcomes)
        yield from self._collect_charged()
        yield counter("received_bytes", "Bytes of request bodies, from callers", (), {(): self._received})
        yield counter("forwarded_bytes", "Bytes of forms, to the provider", (), {(): self._forwarded})
        yield counter("answered_bytes", "Bytes of the provider's answers, to callers", (), {(): self._answered})
        yield from self._collect_durations()
        yield from self._collect_upstream()

    def _observe_exchange(self, record: RequestRecord, account: Settlement, now: float) -> None:
        self._forwarded += account.form.sent_bytes
        self._answered += account.answer_bytes
        spent = durations(record, account, now)
        if spent.overhead is not None:
            self._overhead.observe(spent.overhead)
        self._upload.observe(spent.upload)
        self._wait.observe(spent.wait)
        self._download.observe(spent.download)

    def _observe_upstream(self, error: str, status: int) -> None:
        """A failure of the provider's, and whether its key is good: a trouble stays until a success."""
        if error in self._failures:
            self._failures[error] += 1
        if error in _KEY_TROUBLE:
            self._key_trouble.add(error)
        elif status < 300:
            self._key_trouble.clear()

    def _known(self, caller: Caller) -> str:
        """The caller's name as a label; his terms are kept, as the latest request brought them."""
        if caller.name not in self.callers and len(self.callers) >= MAX_CALLERS:
            return OTHER
        self.callers[caller.name] = caller
        return caller.name

    def _collect_charged(self) -> Iterator[Metric]:
        charged, labels = list(self._charged.items()), ("caller", "model")
        cost = {key: each.nano_usd / NANO_PER_USD for key, each in charged}
        audio = {key: seconds_of(each.audio_ms) for key, each in charged}
        tokens = {
            (*key, kind): float(getattr(each, kind))
            for key, each in charged
            for kind in ("input", "input_audio", "input_text", "output")
        }
        yield counter("cost_usd", "Charged, in US dollars", labels, cost)
        yield counter("audio_seconds", "Charged seconds of audio", labels, audio)
        yield counter("tokens", "Tokens, as the provider told them", (*labels, "kind"), tokens)

    def _collect_durations(self) -> Iterator[Metric]:
        whole = {(OPERATIONS[task].path,): each for task, each in self._durations.items()}
        parts = {("upload",): self._upload, ("wait",): self._wait, ("download",): self._download}
        yield histogram("request_duration_seconds", "From a request's head to its end", ("endpoint",), whole)
        yield histogram("transfer_duration_seconds", "Transfers, and the provider's time", ("part",), parts)
        yield histogram("overhead_seconds", "What the gateway adds to a request's time", (), {(): self._overhead})

    def _collect_upstream(self) -> Iterator[Metric]:
        failures = {(self._upstream, code): float(number) for code, number in self._failures.items()}
        trouble = {(self._upstream, reason): float(code in self._key_trouble) for code, reason in _KEY_TROUBLE.items()}
        told = "1 since the provider refused our key, until its next success"
        yield counter("upstream_failures", "Requests that the provider failed", ("upstream", "error"), failures)
        yield gauge("upstream_key_trouble", told, ("upstream", "reason"), trouble)
        implausible = {(self._upstream,): float(self._implausible)}
        yield counter("upstream_implausible_usage", "Answers whose usage is not believed", ("upstream",), implausible)


class LedgerMetrics(Collector):
    """The ledger's transactions, told from its own thread."""

    def __init__(self) -> None:
        self._seconds, self._writes = Distribution(*_SHORT), Distribution(*_WRITES)

    def committed(self, writes: int, seconds: float) -> None:
        self._seconds.observe(seconds)
        self._writes.observe(writes)

    def collect(self) -> Iterator[Metric]:
        yield histogram("ledger_commit_duration_seconds", "Time of a transaction", (), {(): self._seconds})
        yield histogram("ledger_commit_writes", "Writes that shared a transaction", (), {(): self._writes})


def scrape(*collectors: Collector) -> Callable[[], tuple[bytes, str]]:
    """What answers a scrape: the text, and its content type. The process is told of as well."""
    registry = CollectorRegistry()
    for make in (ProcessCollector, PlatformCollector, GCCollector):
        make(registry=registry)
    for collector in collectors:
        registry.register(collector)
    return lambda: (generate_latest(registry), CONTENT_TYPE_LATEST)
