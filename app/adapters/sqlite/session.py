"""The ledger's ports over SQLite: a session is one connection, and each repository of it uses that connection."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import apsw

from app.adapters.sqlite.callers import SqliteCallers
from app.adapters.sqlite.database import Database
from app.adapters.sqlite.maintenance import backup, export, integrity, pruning
from app.adapters.sqlite.maintenance.reconciliation import SqliteUnknownRequests
from app.adapters.sqlite.schema import VERSION
from app.adapters.sqlite.usage_reports import budget_statuses, has_usage, usage_totals
from app.policy.budget import Budget
from app.policy.caller_policy import Tags
from app.services.callers import AuditEntry
from app.services.maintenance import IntegrityFinding, Progress, Prunable
from app.services.ports import LedgerSession, SchemaState
from app.services.usage import BudgetStatus, ExportedRow, Grouping, Period, UsageTotals


class SqliteSession:
    """Implements `LedgerSession`."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.callers = SqliteCallers(connection)
        self.unknown_requests = SqliteUnknownRequests(connection)
        self.usage = SqliteUsage(connection)
        self.maintenance = SqliteMaintenance(connection)


class SqliteUsage:
    """Implements `UsageRepository`."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def totals(
        self, grouping: Grouping, period: Period, caller: str | None = None, tags: Tags = ()
    ) -> list[UsageTotals]:
        return usage_totals(self._connection, grouping, period, caller, tags)

    def budget_statuses(self, caller: str, budgets: tuple[Budget, ...], now_ms: int) -> list[BudgetStatus]:
        return budget_statuses(self._connection, caller, budgets, now_ms)

    def has_usage(self, caller: str) -> bool:
        return has_usage(self._connection, caller)

    def one_moment(self) -> AbstractContextManager[object]:
        return self._connection

    def count_rows(self, period: Period) -> tuple[int, int]:
        return export.count_rows(self._connection, period)

    def exported_rows(self, period: Period) -> Iterator[ExportedRow]:
        return export.exported_rows(self._connection, period)

    def disagreements(self, period: Period) -> list[str]:
        return export.disagreements(self._connection, period)


class SqliteMaintenance:
    """Implements `LedgerMaintenance`."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def count_requests(self) -> int:
        count: int = self._connection.execute("SELECT count(*) FROM requests").get
        return count

    def first_damage(self) -> str | None:
        self._connection.execute("BEGIN IMMEDIATE; ROLLBACK")
        result = self._connection.execute("PRAGMA quick_check(1)").get
        return None if result == "ok" else str(result)

    def check_integrity(self, served: bool, quick: bool, progress: Progress) -> Iterator[IntegrityFinding]:
        return integrity.check_integrity(self._connection, served, quick, progress)

    def prunable(self, before_ms: int) -> Prunable:
        return pruning.prunable(self._connection, before_ms)

    def prune(self, before_ms: int, entry: AuditEntry, progress: Progress) -> int:
        return pruning.prune(self._connection, before_ms, entry, progress)


class SqliteLedgerStore:
    """Implements `LedgerStore` over one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def path(self) -> Path:
        return self._database.path

    @property
    def served(self) -> bool:
        return self._database.served

    def holder(self) -> int:
        return self._database.holder()

    def check_writable(self) -> SchemaState:
        version = self._database.check_writable()
        if version is None:
            return SchemaState.MISSING
        return SchemaState.CURRENT if version == VERSION else SchemaState.OLDER

    @contextmanager
    def session(self, *, create: bool = False) -> Iterator[LedgerSession]:
        with self._database.session(create=create) as connection:
            yield SqliteSession(connection)

    @contextmanager
    def snapshot(self) -> Iterator[LedgerSession]:
        with self._database.snapshot() as connection:
            yield SqliteSession(connection)

    def back_up(self, target: Path, progress: Progress) -> int:
        return backup.back_up(self._database, target, progress)
