"""What a run leaves: the tables on standard output, and `results/<date>.json`, `.md` and `.svg`."""

import json
from collections.abc import Sequence
from pathlib import Path

from bench import table
from bench.figures import Figures
from bench.goals import standing
from bench.plot import svg
from bench.scenarios import Scenario


def printed(figures: Figures, scenarios: Sequence[Scenario], subjects: Sequence[str]) -> str:
    parts = [table.text(rows) for rows in _details(figures, scenarios, subjects)]
    parts += ["\n".join(figures.ledger), table.text(table.summary(figures, scenarios, subjects))]
    parts += [table.text(standing(figures)), "\n".join(_left_out(figures))]
    return "\n\n".join(part for part in parts if part)


def write(folder: Path, name: str, figures: Figures, scenarios: Sequence[Scenario], subjects: Sequence[str]) -> None:
    (folder / f"{name}.json").write_text(json.dumps(figures.document(scenarios), indent=1) + "\n")
    (folder / f"{name}.svg").write_text(svg(figures, scenarios, subjects))
    (folder / f"{name}.md").write_text(_page(name, figures, scenarios, subjects))


def _details(figures: Figures, scenarios: Sequence[Scenario], subjects: Sequence[str]) -> list[list[table.Row]]:
    tables = [table.detail(figures, scenario, subjects) for scenario in scenarios]
    return [rows for rows in tables if len(rows) > 1]


def _page(name: str, figures: Figures, scenarios: Sequence[Scenario], subjects: Sequence[str]) -> str:
    parts = [
        f"# {name}",
        f"![Medians with min and max]({name}.svg)",
        "Medians; the last columns are ours as a multiple of the peer's.",
        table.markdown(table.summary(figures, scenarios, subjects)),
        "## Goals",
        table.markdown(standing(figures)),
        "## Every figure, median (min-max)",
        *(table.markdown(rows) for rows in _details(figures, scenarios, subjects)),
        "## The ledger's size",
        "```\n" + "\n".join(figures.ledger) + "\n```",
        "## The machine",
        table.markdown([("", ""), *figures.machine.items()]),
        "## The versions",
        table.markdown([("", ""), *figures.versions.items()]),
    ]
    left_out = _left_out(figures)
    return "\n\n".join([*parts, *(["## Left out", "\n".join(left_out)] if left_out else [])]) + "\n"


def _left_out(figures: Figures) -> list[str]:
    return [f"- left out: {what}: {reason}" for what, reason in figures.left_out.items()]
