"""Reports a run: tables on standard output and in the documents, and `results/<name>.json`, `.md` and `.svg`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import documents, table
from bench.figures import Figures
from bench.goals import status
from bench.plot import svg
from bench.scenarios import Scenario


@dataclass(frozen=True)
class Report:
    """One run's figures of some scenarios and subjects; `name` begins with the day."""

    name: str
    figures: Figures
    scenarios: Sequence[Scenario]
    subjects: Sequence[str]

    def printed(self) -> str:
        parts = [table.text(rows) for rows in self._details()]
        parts += [table.text(rows) for rows in self._ledger()]
        parts += [table.text(table.summary(self.figures, self.scenarios, self.subjects))]
        parts += [table.text(status(self.figures)), "\n".join(self._left_out())]
        return "\n\n".join(part for part in parts if part)

    def write(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        document = json.dumps(self.figures.document(self.scenarios), indent=1)
        (folder / f"{self.name}.json").write_text(document + "\n")
        (folder / f"{self.name}.svg").write_text(svg(self.figures, self.scenarios, self.subjects))
        (folder / f"{self.name}.md").write_text(documents.page(self.name, self._short(), self._whole()))

    def publish(self, root: Path) -> None:
        """Writes the tables into the documents of the tree."""
        documents.insert(root, self.name, self._short(), self._whole())

    def _short(self) -> str:
        return table.markdown(table.short(self.figures, self.scenarios))

    def _whole(self) -> str:
        parts = [
            "Medians; the last columns are ours as a multiple of the peer's.",
            table.markdown(table.summary(self.figures, self.scenarios, self.subjects)),
            "### Goals",
            table.markdown(status(self.figures)),
            "### Every figure, median (min-max)",
            "Behind a peer's figure: ours as a multiple of it.",
            *(table.markdown(rows) for rows in [*self._details(), *self._ledger()]),
            "### The machine",
            table.markdown([("", ""), *self.figures.machine.items()]),
            "### The versions",
            table.markdown([("", ""), *self.figures.versions.items()]),
            *(["### Left out", "\n".join(self._left_out())] if self.figures.left_out else []),
        ]
        return "\n\n".join(parts)

    def _details(self) -> list[list[table.Row]]:
        tables = [table.detail(self.figures, scenario, self.subjects) for scenario in self.scenarios]
        return [rows for rows in tables if len(rows) > 1]

    def _ledger(self) -> list[list[table.Row]]:
        return [table.ledger(self.figures.ledger)] if self.figures.ledger else []

    def _left_out(self) -> list[str]:
        return [f"- left out: {what}: {reason}" for what, reason in self.figures.left_out.items()]
