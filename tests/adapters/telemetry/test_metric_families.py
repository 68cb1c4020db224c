"""Distributions as Prometheus reads them."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.adapters.telemetry.metric_families import Distribution, counter, gauge, histogram


class One(Collector):
    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> list[Metric]:
        return [self._metric]


def text_of(metric: Metric) -> list[str]:
    registry = CollectorRegistry()
    registry.register(One(metric))
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_a_value_at_a_bound_is_within_it() -> None:
    distribution = Distribution(1, 2.5)
    for value in (0, 1, 1.5, 2.5, 3):
        distribution.observe(value)
    assert text_of(histogram("x_seconds", "told", ("part",), {("up",): distribution})) == [
        'audio_gateway_x_seconds_bucket{le="1.0",part="up"} 2.0',
        'audio_gateway_x_seconds_bucket{le="2.5",part="up"} 4.0',
        'audio_gateway_x_seconds_bucket{le="+Inf",part="up"} 5.0',
        'audio_gateway_x_seconds_count{part="up"} 5.0',
        'audio_gateway_x_seconds_sum{part="up"} 8.0',
    ]


def test_one_without_values_is_there_all_the_same() -> None:
    lines = text_of(histogram("x_seconds", "told", (), {(): Distribution(1)}))
    assert [line.rpartition(" ")[2] for line in lines] == ["0.0"] * 4


def test_counters_and_gauges_by_their_labels() -> None:
    series = {("a", "x"): 1.0, ("b", "y\n"): 2.0}
    assert text_of(counter("things", "told", ("one", "two"), series)) == [
        'audio_gateway_things_total{one="a",two="x"} 1.0',
        'audio_gateway_things_total{one="b",two="y\\n"} 2.0',
    ]
    assert text_of(gauge("things", "told", (), {(): 3})) == ["audio_gateway_things 3.0"]
