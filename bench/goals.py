"""The goals of the gateway, as ratios within one run or as fixed bounds, and whether a run met them."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.figures import Figures
from bench.subjects import OURS
from bench.table import Row, number

Bound = Callable[[Figures], float | None]


@dataclass(frozen=True)
class Goal:
    scenario: str
    metric: str
    words: str
    bound: Bound
    at_least: bool = False


def _times(factor: float, peer: str, scenario: str, metric: str) -> Bound:
    def bound(figures: Figures) -> float | None:
        median = figures.median(scenario, peer, metric)
        return None if median is None else factor * median

    return bound


def _fixed(value: float) -> Bound:
    return lambda _: value


def _and_one_commit(milliseconds: float) -> Bound:
    return lambda figures: milliseconds + float(figures.machine["durable write of 4 KiB"].split()[0])


def _beside(scenario: str, metric: str, factor: float, peer: str) -> Goal:
    words = f"{scenario} {metric} at least {factor:g} x {peer}"
    return Goal(scenario, metric, words, _times(factor, peer, scenario, metric), at_least=True)


def _below(scenario: str, metric: str, value: float) -> Goal:
    return Goal(scenario, metric, f"{scenario} {metric} at most {value:g}", _fixed(value))


GOALS = (
    _beside("small-32", "requests_s", 30, "litellm"),
    _beside("small-32", "requests_s", 3.5, "portkey"),
    _beside("small-32", "requests_s", 0.5, "smg"),
    Goal("small-1", "added_ms", "small-1 added_ms at most 0.6 and one durable commit", _and_one_commit(0.6)),
    _beside("large-1", "mb_s", 1, "nginx"),
    _beside("large-8", "mb_s", 1, "nginx"),
    _below("large-8", "peak_mb", 8),
    _below("sse-1", "first_added_ms", 0.3),
    _below("slow", "peak_mb", 32),
    _below("slow", "small_p99_ms", 3),
    _below("gone-upload", "told_ms", 25),
    _below("start", "start_s", 0.8),
    _beside("large-1-tls", "mb_s", 0.9, "nginx"),
    _below("large-1-tls", "peak_mb", 4),
    _below("start", "idle_mb", 80),
)


def status(figures: Figures) -> list[Row]:
    """Returns a row for each goal: the figure, the bound, and whether the figure meets it."""
    rows: list[Row] = [("goal", "reached", "bound", "")]
    for goal in GOALS:
        reached, bound = figures.median(goal.scenario, OURS, goal.metric), goal.bound(figures)
        words = figures.words(goal.scenario, OURS, goal.metric)
        if words:
            rows.append((goal.words, " or ".join(words), "-" if bound is None else number(bound), "missed"))
        if reached is None or bound is None or words:
            continue
        met = reached >= bound if goal.at_least else reached <= bound
        rows.append((goal.words, number(reached), number(bound), "met" if met else "missed"))
    return rows
