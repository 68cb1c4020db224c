"""Builds the tables: one a scenario with each figure as median (min-max), and a summary with ratios."""

from collections.abc import Callable, Sequence

from bench.figures import Figures, LedgerFigures, Spread
from bench.scenarios import Metric, Scenario
from bench.subjects import OURS

RATIO_PEERS = ("nginx", "litellm", "portkey", "smg")

_IN_SHORT = (
    ("small-32", "requests_s"),
    ("small-1", "added_ms"),
    ("large-1", "mb_s"),
    ("large-8", "peak_mb"),
    ("large-1-tls", "mb_s"),
    ("sse-1", "first_added_ms"),
    ("slow", "peak_mb"),
    ("slow", "small_p99_ms"),
    ("start", "start_s"),
    ("start", "idle_mb"),
)
_FULL_NAMES = {OURS: "audio-gateway", "litellm": "LiteLLM", "portkey": "Portkey"}

Row = tuple[str, ...]


def number(value: float) -> str:
    """Returns the number with about three significant digits."""
    size = abs(value)
    digits = 0 if size >= 100 or not value else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"


def summary(figures: Figures, scenarios: Sequence[Scenario], subjects: Sequence[str]) -> list[Row]:
    """Returns a row for each scenario's first metric and each memory: medians, and ours as multiples of the peers'."""
    peers = [peer for peer in RATIO_PEERS if peer in subjects]
    rows: list[Row] = [("", *subjects, *(f"ours / {peer}" for peer in peers))]
    for scenario in scenarios:
        for metric in _headline(scenario):
            medians = {name: figures.median(scenario.name, name, metric.key) for name in subjects}
            cells = [cell_text(figures, scenario, name, metric, median_text) for name in subjects]
            if any(cell != "-" for cell in cells):
                ratios = [ratio(medians.get(OURS), medians.get(peer)) for peer in peers]
                rows.append((f"{scenario.title}: {metric.title}", *cells, *ratios))
    return rows


def short(figures: Figures, scenarios: Sequence[Scenario]) -> list[Row]:
    """Returns the medians of the most important metrics, for the README."""
    subjects = (OURS, *RATIO_PEERS)
    rows: list[Row] = [("", *(_FULL_NAMES.get(name, name) for name in subjects))]
    for name, key in _IN_SHORT:
        for scenario, metric in ((each, metric) for each in scenarios for metric in each.metrics):
            if (scenario.name, metric.key) == (name, key):
                cells = [cell_text(figures, scenario, subject, metric, median_text) for subject in subjects]
                rows.append((f"{scenario.title}: {metric.title}", *cells))
    return rows


def _headline(scenario: Scenario) -> list[Metric]:
    first, *rest = scenario.metrics
    return [first, *(each for each in rest if each.key in ("peak_mb", "idle_mb", "small_p99_ms"))]


def ratio(ours: float | None, theirs: float | None) -> str:
    """Returns ours as a multiple of theirs, "-" if there is no ratio."""
    if ours is None or theirs is None or ours <= 0 or theirs <= 0:
        return "-"
    return f"{number(ours / theirs)}x"


def detail(figures: Figures, scenario: Scenario, subjects: Sequence[str]) -> list[Row]:
    """Returns a row for each subject: each figure with its spread, and ours as a multiple of it."""
    rows: list[Row] = [(scenario.title, *(metric.title for metric in scenario.metrics))]
    for name in subjects:
        cells = [_cell(figures, scenario, name, metric) for metric in scenario.metrics]
        if any(cell != "-" for cell in cells):
            rows.append((name, *cells))
    return rows


def ledger(figures: LedgerFigures) -> list[Row]:
    """Returns a row for each kind of work, on an empty and on a full ledger."""
    rows: list[Row] = [("the ledger's size", "empty", f"{figures.rows:,} rows, {figures.mb:,.0f} MB", "full / empty")]
    for each in figures.compared:
        empty, full = Spread.of(each.empty), Spread.of(each.full)
        rows.append((each.what, _spread_text(empty), _spread_text(full), ratio(full.median, empty.median)))
    return rows


def _cell(figures: Figures, scenario: Scenario, subject: str, metric: Metric) -> str:
    cell = cell_text(figures, scenario, subject, metric, _spread_text)
    theirs = figures.median(scenario.name, subject, metric.key)
    if subject not in RATIO_PEERS or theirs is None:
        return cell
    return f"{cell} {ratio(figures.median(scenario.name, OURS, metric.key), theirs)}"


def cell_text(
    figures: Figures, scenario: Scenario, subject: str, metric: Metric, format_spread: Callable[[Spread], str]
) -> str:
    """Returns the numbers as `format_spread` formats them, and the words in place of missing ones."""
    spread = figures.spread(scenario.name, subject, metric.key)
    words = figures.words(scenario.name, subject, metric.key)
    parts = [
        *([format_spread(spread)] if spread else []),
        *(scenario.instead.get((subject, word), word) for word in words),
    ]
    return " or ".join(parts) or "-"


def median_text(spread: Spread) -> str:
    return number(spread.median)


def _spread_text(spread: Spread) -> str:
    if spread.least == spread.most:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.least)}-{number(spread.most)})"


def text(rows: Sequence[Row]) -> str:
    """Returns the rows for a terminal, with the first column aligned left and the others right."""
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
