"""The scenarios: what each one measures, against which upstream."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from bench.gone import NEVER, gone
from bench.large import large
from bench.slow import slow
from bench.small import small
from bench.sse import sse
from bench.subjects import DIRECT, OURS, SUBJECTS
from bench.target import Target
from bench.upstream import Mode
from bench.witness import Moment

SLOW_UPLOADS = 500
_SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class Effort:
    """How long each measurement takes, and how often it is repeated."""

    repeats: int
    small_seconds: float
    large_seconds: float
    sse_rounds: int
    slow_seconds: float
    gone_times: int
    ledger_rows: int
    ledger_requests: int


QUICK = Effort(
    1,
    small_seconds=2,
    large_seconds=2,
    sse_rounds=2,
    slow_seconds=4,
    gone_times=1,
    ledger_rows=100_000,
    ledger_requests=500,
)
FULL = Effort(
    3,
    small_seconds=3,
    large_seconds=3,
    sse_rounds=6,
    slow_seconds=6,
    gone_times=5,
    ledger_rows=10_000_000,
    ledger_requests=2_000,
)


@dataclass(frozen=True)
class Metric:
    """One figure. With `over_direct`, it is the difference of that metric from the direct one in the same round."""

    key: str
    title: str
    more_is_better: bool = False
    over_direct: str | None = None


@dataclass(frozen=True)
class Scenario:
    """One kind of load. The summary and the plot show the first of `metrics`. `instead` replaces words of a subject's
    figures that mean something else in its design.
    """

    name: str
    title: str
    mode: Mode
    metrics: tuple[Metric, ...]
    measure: Callable[[Target, Effort], Mapping[str, float | str]]
    subjects: tuple[str, ...] = tuple(subject.name for subject in SUBJECTS)
    instead: Mapping[tuple[str, str], str] = field(default_factory=dict)


_REQUESTS = Metric("requests_s", "requests/s", more_is_better=True)
_P50, _P99 = Metric("p50_ms", "p50 ms"), Metric("p99_ms", "p99 ms")
_ADDED = Metric("added_ms", "p50 added ms", over_direct="p50_ms")
_CPU_US = Metric("cpu_us", "CPU us/request")
_MB_S = Metric("mb_s", "MB/s", more_is_better=True)
_CPU_MS = Metric("cpu_ms", "CPU ms/upload")
_PEAK = Metric("peak_mb", "MB over idle")
_BUSY = Metric("busy_percent", "core busy %")
_LARGE = (_MB_S, _P50, _CPU_MS, _BUSY, _PEAK)
_SSE = (
    Metric("first_added_ms", "first event added ms", over_direct="first_ms"),
    Metric("first_ms", "first event ms"),
    Metric("every_ms", "every event p50 ms"),
    Metric("p99_ms", "every event p99 ms"),
    Metric("last_ms", "last event ms"),
)
_SLOW = (
    _PEAK,
    Metric("upload_kb", "KB/upload"),
    Metric("small_p50_ms", "small p50 ms"),
    Metric("small_p99_ms", "small p99 ms"),
    _BUSY,
)
_START = (Metric("start_s", "start s"), Metric("idle_mb", "idle MB (PSS)"))
_TOLD = (Metric("told_ms", "upstream told, ms"),)
_WITH_GATEWAY = tuple(subject.name for subject in SUBJECTS if subject.name != DIRECT)


def _small(target: Target, effort: Effort, connections: int) -> dict[str, float]:
    return small(target, connections, effort.small_seconds)


def _large(target: Target, effort: Effort, together: int, file_first: bool = False) -> dict[str, float]:
    return large(target, together, effort.large_seconds, file_first=file_first)


def _sse(target: Target, effort: Effort, streams: int) -> dict[str, float]:
    return sse(target, streams, max(2, effort.sse_rounds // 3) if streams > 1 else effort.sse_rounds)


def _slow(target: Target, effort: Effort) -> dict[str, float]:
    return slow(target, SLOW_UPLOADS, effort.slow_seconds)


def _start(target: Target, effort: Effort) -> dict[str, float]:
    assert target.meter is not None
    time.sleep(_SETTLE_SECONDS)
    return {"start_s": target.start_seconds, "idle_mb": target.meter.proportional_mb()}


def _gone(target: Target, effort: Effort, moment: Moment) -> Mapping[str, float | str]:
    return gone(target, moment, effort.gone_times)


def _small_scenario(connections: int, mode: Mode = Mode.JSON) -> Scenario:
    over = ", upstream on TLS" if mode is Mode.TLS else ""
    title = f"32 KiB, {connections} connection{'s' if connections > 1 else ''}{over}"
    metrics = (
        (_ADDED, _P50, _P99, _REQUESTS, _CPU_US, _BUSY) if connections == 1 else (_REQUESTS, _P50, _P99, _CPU_US, _BUSY)
    )
    return Scenario(_name("small", connections, mode), title, mode, metrics, partial(_small, connections=connections))


def _large_scenario(together: int, mode: Mode = Mode.JSON) -> Scenario:
    over = ", upstream on TLS" if mode is Mode.TLS else ""
    title = f"25 MB, {together} at {'once' if together > 1 else 'a time'}{over}"
    return Scenario(_name("large", together, mode), title, mode, _LARGE, partial(_large, together=together))


def _gone_scenario(moment: Moment, when: str, instead: Mapping[tuple[str, str], str]) -> Scenario:
    measure = partial(_gone, moment=moment)
    return Scenario(f"gone-{moment.value}", f"caller gone {when}", Mode.WITNESS, _TOLD, measure, instead=instead)


def _name(kind: str, count: int, mode: Mode) -> str:
    return f"{kind}-{count}" + ("-tls" if mode is Mode.TLS else "")


# The gateway reads a response to its end for its usage, even without a caller.
_READ_ON = {(OURS, NEVER): "read on"}

SCENARIOS = (
    _small_scenario(1),
    _small_scenario(32),
    _small_scenario(64),
    _large_scenario(1),
    _large_scenario(8),
    Scenario("file-first", "25 MB, file before model", Mode.JSON, _LARGE, partial(_large, together=1, file_first=True)),
    Scenario("sse-1", "SSE, 1 stream", Mode.SSE, _SSE, partial(_sse, streams=1)),
    Scenario("sse-32", "SSE, 32 streams", Mode.SSE, _SSE, partial(_sse, streams=32)),
    Scenario("slow", f"{SLOW_UPLOADS} uploads at 20 KiB/s", Mode.JSON, _SLOW, _slow),
    Scenario("start", "start and rest", Mode.JSON, _START, _start, _WITH_GATEWAY),
    _gone_scenario(Moment.UPLOAD, "mid-upload", {}),
    _gone_scenario(Moment.WAITING, "while waiting", _READ_ON),
    _gone_scenario(Moment.SSE, "mid-SSE", _READ_ON),
    _small_scenario(1, Mode.TLS),
    _small_scenario(32, Mode.TLS),
    _small_scenario(64, Mode.TLS),
    _large_scenario(1, Mode.TLS),
    _large_scenario(8, Mode.TLS),
)
