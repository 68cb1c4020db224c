"""Maintenance of the ledger: what an integrity check finds, what pruning removes, and the port that does both."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from app.services.callers import AuditEntry

# Receives how much of a long piece of work is done, and how much it is in total.
Progress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Ignores the progress."""


@dataclass(frozen=True, slots=True)
class IntegrityFinding:
    """The result of one integrity check, each fault and each remark in one line.

    A fault is a state that no gateway writes. A remark may be correct, but an operator should know it.
    """

    check: str
    faults: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        return "wrong" if self.faults else "note" if self.remarks else "ok"


@dataclass(frozen=True, slots=True)
class Prunable:
    """The rows before a day: how many can be pruned, the day of the first of them, and how many must stay."""

    rows: int
    first: date | None
    staying: int


class LedgerMaintenance(Protocol):
    """Checks and pruning over the connection of a session."""

    def count_requests(self) -> int:
        """Returns the number of requests that have a row."""

    def first_damage(self) -> str | None:
        """Returns the first damage that a quick check finds, None if it finds none, after a test of the write lock."""

    def check_integrity(self, served: bool, quick: bool, progress: Progress) -> Iterator[IntegrityFinding]:
        """Yields the result of each check. `served` says whether a gateway serves now; `quick` skips the indexes.

        `progress` receives the checks done and the checks in total, repeatedly during a long check.
        """

    def prunable(self, before_ms: int) -> Prunable:
        """Returns what `prune` would do with the rows admitted before this moment."""

    def prune(self, before_ms: int, entry: AuditEntry, progress: Progress) -> int:
        """Removes the closed rows admitted before this moment, keeps their sums, and returns how many it removed.

        It writes the audit entry with the first of them. `progress` receives the rows removed and the rows in total.
        """
