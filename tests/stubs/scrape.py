"""What a gateway's /metrics tells, as a Prometheus would read it."""

import time
from collections.abc import Callable
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.stubs.gateway import METRICS_KEY, NO_TLS, GatewayProcess


class Scrape:
    """One scrape. A series is told by some of its labels; `value` is the sum of those that fit."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples: list[Sample] = [
            sample for each in text_string_to_metric_families(text) for sample in each.samples
        ]

    @classmethod
    def of(cls, gateway: GatewayProcess) -> Self:
        headers = {"authorization": f"Bearer {METRICS_KEY}"}
        answer = httpx.get(f"{gateway.host}/metrics", headers=headers, timeout=10, **NO_TLS)
        assert answer.status_code == 200, answer.text
        return cls(answer.text)

    @property
    def labels(self) -> dict[str, set[str]]:
        """The names of the labels of each sample's name."""
        found: dict[str, set[str]] = {}
        for sample in self.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
        return found

    def series(self, name: str, **labels: str) -> list[Sample]:
        return [each for each in self.samples if each.name == name and labels.items() <= each.labels.items()]

    def value(self, name: str, **labels: str) -> float:
        return sum(sample.value for sample in self.series(name, **labels))


def wait_for_scrape(gateway: GatewayProcess, fits: Callable[[Scrape], object]) -> Scrape:
    """A scrape that fits: a request is counted right after its answer has been sent."""
    deadline = time.monotonic() + 20
    while not fits(scrape := Scrape.of(gateway)):
        assert time.monotonic() < deadline, scrape.text
        time.sleep(0.02)
    return scrape
