"""Draws the plot: a panel for each scenario's first metric, a dot at each median, a line from minimum to maximum."""

import math
from collections.abc import Sequence
from html import escape

from bench.figures import Figures, Spread
from bench.scenarios import Scenario
from bench.subjects import OURS
from bench.table import cell_text, median_text

_COLUMNS, _WIDTH, _LABEL, _ROW, _HEAD, _GAP = 3, 360, 60, 18, 40, 18
_STYLE = (
    "text{font:11px sans-serif;fill:#222}.title{font-weight:bold}.axis{fill:#777}"
    ".peer{fill:#6b7a8f;stroke:#6b7a8f}.ours{fill:#c2410c;stroke:#c2410c}.rule{stroke:#e2e2e2}"
)


def svg(figures: Figures, scenarios: Sequence[Scenario], subjects: Sequence[str]) -> str:
    shown = [each for each in scenarios if _spreads(figures, each, subjects)]
    height = _HEAD + _ROW * len(subjects) + _GAP
    rows = math.ceil(len(shown) / _COLUMNS)
    panels = [
        f'<g transform="translate({column * _WIDTH},{row * height})">{_panel(figures, scenario, subjects)}</g>'
        for index, scenario in enumerate(shown)
        for row, column in [divmod(index, _COLUMNS)]
    ]
    size = f'width="{_COLUMNS * _WIDTH}" height="{rows * height}"'
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    return "\n".join(
        [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', f"<style>{_STYLE}</style>", ground, *panels, "</svg>\n"]
    )


def _spreads(figures: Figures, scenario: Scenario, subjects: Sequence[str]) -> dict[str, Spread]:
    """Returns the figures that a logarithmic axis can show."""
    found = {name: figures.spread(scenario.name, name, scenario.metrics[0].key) for name in subjects}
    return {name: spread for name, spread in found.items() if spread is not None and spread.median > 0}


def _panel(figures: Figures, scenario: Scenario, subjects: Sequence[str]) -> str:
    spreads, metric = _spreads(figures, scenario, subjects), scenario.metrics[0]
    values = [each for spread in spreads.values() for each in (spread.median, spread.least, spread.most) if each > 0]
    low, high = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values)) + 1e-9)
    better = "more is better" if metric.more_is_better else "less is better"
    parts = [
        f'<text class="title" x="8" y="16">{escape(scenario.title)}</text>',
        f'<text class="axis" x="8" y="30">{escape(metric.title)}, {better}; logarithmic</text>',
    ]
    for row, each in enumerate(subjects):
        label = cell_text(figures, scenario, each, metric, median_text)
        parts.append(_line(each, row, label, spreads.get(each), low, high))
    return "".join(parts)


def _line(name: str, row: int, label: str, spread: Spread | None, low: float, high: float) -> str:
    y = _HEAD + _ROW * row + _ROW / 2
    left, right = 8 + _LABEL, _WIDTH - 80
    parts = [
        f'<text x="8" y="{y + 4}">{escape(name)}</text>',
        f'<line class="rule" x1="{left}" y1="{y}" x2="{right}" y2="{y}"/>',
    ]
    if spread is None:
        return "".join([*parts, f'<text class="axis" x="{right + 8}" y="{y + 4}">{label}</text>'])
    kind = "ours" if name == OURS else "peer"
    at, first, last = (_place(each, low, high, left, right) for each in (spread.median, spread.least, spread.most))
    parts.append(f'<line class="{kind}" stroke-width="2" x1="{first:.1f}" y1="{y}" x2="{last:.1f}" y2="{y}"/>')
    parts.append(f'<circle class="{kind}" cx="{at:.1f}" cy="{y}" r="4"/>')
    parts.append(f'<text x="{right + 8}" y="{y + 4}">{label}</text>')
    return "".join(parts)


def _place(value: float, low: float, high: float, left: float, right: float) -> float:
    share = (math.log10(max(value, low)) - math.log10(low)) / (math.log10(high) - math.log10(low))
    return left + share * (right - left)
