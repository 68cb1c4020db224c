"""Prometheus: sums kept as plain numbers while requests run, made into series only when somebody asks for them.

The library's own counters and histograms take a lock for every step of every series; these have one writing thread
each, and cost a request a few microseconds all together.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

# The values of the labels of one series, in the order of their names.
Labels = TypeVar("Labels", bound=tuple[str, ...])

PREFIX = "audio_gateway_"


class Distribution:
    """How values are distributed over buckets; `bounds` are their upper ends, the last being infinity."""

    def __init__(self, *bounds: float) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """The cumulated count of each bucket by its upper end, as Prometheus writes them, and the sum."""
        ends = (*self._bounds, float("inf"))
        return list(zip(map(floatToGoString, ends), map(float, accumulate(self._counts)), strict=True)), self._sum


def counter(name: str, told: str, labels: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    """A counter with a series for each key of `values`, which are the values of the labels."""
    family = CounterMetricFamily(PREFIX + name, told, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def gauge(name: str, told: str, labels: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    """As `counter`, for what goes up and down."""
    family = GaugeMetricFamily(PREFIX + name, told, labels=labels)
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family


def histogram(name: str, told: str, labels: Sequence[str], values: Mapping[Labels, Distribution]) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, told, labels=labels)
    for key, distribution in values.items():
        buckets, total = distribution.buckets()
        family.add_metric(key, buckets, total)
    return family
