"""A gateway's /metrics, read as Prometheus reads it."""

import time
from collections.abc import Callable
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.stubs.gateway import METRICS_KEY, NO_TLS, GatewayProcess


class Scrape:
    """One scrape. Some labels select series; `value` is the sum of the selected ones."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples: list[Sample] = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    @classmethod
    def of(cls, gateway: GatewayProcess) -> Self:
        headers = {"authorization": f"Bearer {METRICS_KEY}"}
        response = httpx.get(f"{gateway.host}/metrics", headers=headers, timeout=10, **NO_TLS)
        assert response.status_code == 200, response.text
        return cls(response.text)

    @property
    def labels(self) -> dict[str, set[str]]:
        """The label names of each sample name."""
        names: dict[str, set[str]] = {}
        for sample in self.samples:
            names.setdefault(sample.name, set()).update(sample.labels)
        return names

    def series(self, name: str, **labels: str) -> list[Sample]:
        return [sample for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()]

    def value(self, name: str, **labels: str) -> float:
        return sum(sample.value for sample in self.series(name, **labels))


def wait_for_scrape(gateway: GatewayProcess, fits: Callable[[Scrape], object]) -> Scrape:
    """Scrapes until `fits` holds: the gateway counts a request right after it has sent the response."""
    deadline = time.monotonic() + 20
    while not fits(scrape := Scrape.of(gateway)):
        assert time.monotonic() < deadline, scrape.text
        time.sleep(0.02)
    return scrape
