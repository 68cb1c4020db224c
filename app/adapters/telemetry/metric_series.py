"""Counters and histograms that keep plain numbers, and become metric families of prometheus-client at a scrape.

The library's own classes take a lock for each series of each step. Here each series has one writing thread, so none is
needed. docs/adr/0014 has the figures.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class CounterSeries:
    """A sum that only grows, for one combination of label values."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        self.value += amount


class HistogramSeries:
    """How many values fell into each bucket, and their sum. `bounds` are the upper bounds, without infinity."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def cumulated(self) -> tuple[list[tuple[str, float]], float]:
        """Returns the cumulated count of each bucket with its upper bound as Prometheus writes it, and the sum."""
        names = map(floatToGoString, (*self._bounds, float("inf")))
        return list(zip(names, map(float, accumulate(self._counts)), strict=True)), self._total


class Counter(Collector):
    """A counter with one series for each combination of label values."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str] = (), *, registry: CollectorRegistry
    ) -> None:
        self._name, self._documentation, self._labels = name, documentation, tuple(labels)
        self._series: dict[tuple[str, ...], CounterSeries] = {}
        registry.register(self)

    def labels(self, *values: object) -> CounterSeries:
        """Returns the series of these label values, which starts at 0."""
        return self._series.setdefault(tuple(map(str, values)), CounterSeries())

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, series in list(self._series.items()):
            family.add_metric(values, series.value)
        yield family


class Histogram(Collector):
    """A histogram with one series for each combination of label values."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name, self._documentation, self._labels, self._buckets = name, documentation, tuple(labels), buckets
        self._series: dict[tuple[str, ...], HistogramSeries] = {}
        registry.register(self)

    def labels(self, *values: str) -> HistogramSeries:
        """Returns the series of these label values, which starts empty."""
        return self._series.setdefault(values, HistogramSeries(self._buckets))

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, series in list(self._series.items()):
            buckets, total = series.cumulated()
            family.add_metric(values, buckets, total)
        yield family
