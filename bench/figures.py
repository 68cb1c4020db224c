"""The figures of a run: scenario, subject, metric, and a value for each round; and what could not be measured."""

import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.scenarios import Scenario
from bench.subjects import DIRECT


@dataclass(frozen=True)
class Spread:
    median: float
    least: float
    most: float


@dataclass
class Figures:
    machine: dict[str, str]
    versions: dict[str, str]
    left_out: dict[str, str] = field(default_factory=dict)
    rounds: dict[str, dict[str, list[dict[str, float]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    ledger: list[str] = field(default_factory=list)

    def add(self, scenario: str, subject: str, measured: dict[str, float]) -> None:
        self.rounds[scenario][subject].append(measured)

    def leave_out(self, scenario: str, subject: str, reason: str) -> None:
        """Say why a subject has no figures in a scenario; what it had there is dropped."""
        self.left_out[f"{subject}, {scenario}"] = reason
        self.rounds[scenario].pop(subject, None)

    def derive(self, scenario: Scenario) -> None:
        """Fill in what is told as an excess over the direct figure of the same round."""
        direct = self.rounds[scenario.name].get(DIRECT, [])
        for subject, rounds in self.rounds[scenario.name].items():
            for metric in scenario.metrics:
                if metric.over_direct is not None and subject != DIRECT:
                    for mine, theirs in zip(rounds, direct, strict=False):
                        mine[metric.key] = mine[metric.over_direct] - theirs[metric.over_direct]

    def spread(self, scenario: str, subject: str, metric: str) -> Spread | None:
        """The median with min and max; None if it was not measured."""
        rounds = self.rounds.get(scenario, {}).get(subject, [])
        values = [measured[metric] for measured in rounds if metric in measured]
        return Spread(statistics.median(values), min(values), max(values)) if values else None

    def median(self, scenario: str, subject: str, metric: str) -> float | None:
        spread = self.spread(scenario, subject, metric)
        return None if spread is None else spread.median

    def document(self, scenarios: Iterable[Scenario]) -> dict[str, object]:
        """Everything, for JSON."""
        return {
            "machine": self.machine,
            "versions": self.versions,
            "left_out": self.left_out,
            "rounds": {each.name: dict(self.rounds[each.name]) for each in scenarios if each.name in self.rounds},
            "ledger": self.ledger,
        }
