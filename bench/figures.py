"""The figures of a run by scenario, subject and metric, with a value for each round, and the reasons for missing ones.

A value is a number, or a word where there is no number, such as "never".
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from bench.scenarios import Scenario
from bench.subjects import DIRECT

Value = float | str


@dataclass(frozen=True)
class Spread:
    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Comparison:
    """The same work on an empty and on a full ledger, with a value for each round."""

    what: str
    empty: list[float]
    full: list[float]


@dataclass(frozen=True)
class LedgerFigures:
    """The cost of the ledger's size. `rows`, `mb` and `filled_s` describe the full ledger."""

    rows: int
    mb: float
    filled_s: float
    compared: list[Comparison]


@dataclass
class Figures:
    machine: dict[str, str]
    versions: dict[str, str]
    left_out: dict[str, str] = field(default_factory=dict)
    rounds: dict[str, dict[str, list[dict[str, Value]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    ledger: LedgerFigures | None = None

    def add(self, scenario: str, subject: str, measured: Mapping[str, Value]) -> None:
        self.rounds[scenario][subject].append(dict(measured))

    def leave_out(self, scenario: str, subject: str, reason: str) -> None:
        """Records why a subject has no figures in a scenario, and drops those that it has."""
        self.left_out[f"{subject}, {scenario}"] = reason
        self.rounds[scenario].pop(subject, None)

    def derive(self, scenario: Scenario) -> None:
        """Adds the metrics that are differences from the direct figure of the same round."""
        direct = self.rounds[scenario.name].get(DIRECT, [])
        for subject, rounds in self.rounds[scenario.name].items():
            for metric in scenario.metrics:
                if metric.over_direct is not None and subject != DIRECT:
                    for mine, theirs in zip(rounds, direct, strict=False):
                        mine[metric.key] = float(mine[metric.over_direct]) - float(theirs[metric.over_direct])

    def spread(self, scenario: str, subject: str, metric: str) -> Spread | None:
        """Returns the median of the numbers with minimum and maximum, None if there are no numbers."""
        values = [value for value in self._values(scenario, subject, metric) if not isinstance(value, str)]
        return Spread.of(values) if values else None

    def median(self, scenario: str, subject: str, metric: str) -> float | None:
        spread = self.spread(scenario, subject, metric)
        return None if spread is None else spread.median

    def words(self, scenario: str, subject: str, metric: str) -> list[str]:
        """Returns the words in place of numbers, each word once."""
        values = self._values(scenario, subject, metric)
        return list(dict.fromkeys(value for value in values if isinstance(value, str)))

    def _values(self, scenario: str, subject: str, metric: str) -> list[Value]:
        rounds = self.rounds.get(scenario, {}).get(subject, [])
        return [measured[metric] for measured in rounds if metric in measured]

    def document(self, scenarios: Iterable[Scenario]) -> dict[str, object]:
        """Returns all figures, for JSON."""
        return {
            "machine": self.machine,
            "versions": self.versions,
            "left_out": self.left_out,
            "rounds": {
                scenario.name: dict(self.rounds[scenario.name])
                for scenario in scenarios
                if scenario.name in self.rounds
            },
            "ledger": asdict(self.ledger) if self.ledger else None,
        }
