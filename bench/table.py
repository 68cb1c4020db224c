"""The tables: one for each scenario with every figure as median (min-max), and a summary with ratios."""

from collections.abc import Sequence

from bench.figures import Figures, Spread
from bench.scenarios import Metric, Scenario
from bench.subjects import OURS

RATIO_PEERS = ("nginx", "litellm", "portkey", "smg")

Row = tuple[str, ...]


def number(value: float) -> str:
    """Three significant digits or so."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"


def summary(figures: Figures, scenarios: Sequence[Scenario], subjects: Sequence[str]) -> list[Row]:
    """A row for each scenario's first figure and each memory: the medians, then ours as a multiple of each peer's."""
    peers = [peer for peer in RATIO_PEERS if peer in subjects]
    rows: list[Row] = [("", *subjects, *(f"ours / {peer}" for peer in peers))]
    for scenario in scenarios:
        for metric in _headline(scenario):
            medians = {name: figures.median(scenario.name, name, metric.key) for name in subjects}
            if any(value is not None for value in medians.values()):
                cells = ["-" if value is None else number(value) for value in medians.values()]
                ratios = [ratio(medians.get(OURS), medians.get(peer)) for peer in peers]
                rows.append((f"{scenario.title}: {metric.title}", *cells, *ratios))
    return rows


def _headline(scenario: Scenario) -> list[Metric]:
    first, *rest = scenario.metrics
    return [first, *(each for each in rest if each.key in ("peak_mb", "idle_mb", "small_p99_ms"))]


def ratio(ours: float | None, theirs: float | None) -> str:
    """Ours as a multiple of theirs; nothing where that says nothing."""
    if ours is None or theirs is None or ours <= 0 or theirs <= 0:
        return "-"
    return f"{number(ours / theirs)}x"


def detail(figures: Figures, scenario: Scenario, subjects: Sequence[str]) -> list[Row]:
    """A row for each subject: every figure with its spread, and ours as a multiple of it."""
    rows: list[Row] = [(scenario.title, *(metric.title for metric in scenario.metrics))]
    for name in subjects:
        cells = [_cell(figures, scenario, name, metric) for metric in scenario.metrics]
        if any(cell != "-" for cell in cells):
            rows.append((name, *cells))
    return rows


def _cell(figures: Figures, scenario: Scenario, subject: str, metric: Metric) -> str:
    spread = figures.spread(scenario.name, subject, metric.key)
    if spread is None:
        return "-"
    if subject not in RATIO_PEERS:
        return _spread_text(spread)
    return f"{_spread_text(spread)} {ratio(figures.median(scenario.name, OURS, metric.key), spread.median)}"


def _spread_text(spread: Spread) -> str:
    if spread.least == spread.most:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.least)}-{number(spread.most)})"


def text(rows: Sequence[Row]) -> str:
    """For a terminal: the first column to the left, all others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(rows: Sequence[Row]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "| --- |" + " ---: |" * (len(rows[0]) - 1))
    return "\n".join(lines)
