"""The ledger as commands, the admin API and reports use it. A storage adapter implements these ports.

The repositories that a session offers are declared beside the values that they return: `CallerRepository` in
`callers`, `UnknownRequestRepository` in `reconciliation`, `UsageRepository` in `usage`, `LedgerMaintenance` in
`maintenance`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import Enum
from pathlib import Path
from typing import Protocol, TypeVar

from app.services.callers import CallerRepository
from app.services.maintenance import LedgerMaintenance, Progress
from app.services.reconciliation import UnknownRequestRepository
from app.services.usage import UsageRepository

T = TypeVar("T")


class LedgerUnusable(Exception):
    """The ledger cannot be used. The message is one line and says what to do."""


class SchemaState(Enum):
    """The schema that a ledger has, compared with the schema of this gateway."""

    MISSING = "missing"
    OLDER = "older"
    CURRENT = "current"


class LedgerSession(Protocol):
    """Access to the ledger for one piece of work, over one connection. Every call may raise `LedgerUnusable`."""

    @property
    def callers(self) -> CallerRepository: ...
    @property
    def unknown_requests(self) -> UnknownRequestRepository: ...
    @property
    def usage(self) -> UsageRepository: ...
    @property
    def maintenance(self) -> LedgerMaintenance: ...


class LedgerStore(Protocol):
    """One ledger. Every method raises `LedgerUnusable` if the ledger does not allow what it does."""

    @property
    def path(self) -> Path:
        """The file that names this ledger."""

    @property
    def served(self) -> bool:
        """Whether a gateway serves from this ledger now."""

    def holder(self) -> int:
        """Returns the process id of the gateway that serves from this ledger."""

    def check_writable(self) -> SchemaState:
        """Checks, without a change, that a gateway can write this ledger, and returns the state of its schema."""

    def session(self, *, create: bool = False) -> AbstractContextManager[LedgerSession]:
        """Opens a session. With `create` it creates a ledger that does not exist yet."""

    def snapshot(self) -> AbstractContextManager[LedgerSession]:
        """Opens a read-only session that sees the ledger as it is at this moment. It blocks no writer."""

    def back_up(self, target: Path, progress: Progress) -> int:
        """Copies the ledger to a new file while others may write, and returns the size of the copy in bytes.

        `progress` receives the pages copied and the pages in total.
        """


class LedgerWork(Protocol):
    """Runs work on the ledger beside the requests, on threads of its own."""

    async def run(self, work: Callable[[LedgerSession], T]) -> T:
        """Returns the result of `work`. Raises APIError 503 if too much work waits or the ledger cannot be used."""

    async def close(self) -> None:
        """Accepts no more work, interrupts the work in progress, and waits for its end."""
